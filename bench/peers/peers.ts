import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { median } from "../percentile.ts";
import type { Cell, Report } from "../report.ts";
import type { Scenario, ScenarioContext } from "../scenario.ts";
import { Stage } from "../stage.ts";
import { debezium } from "./debezium/debezium.ts";
import { listenNotify } from "./listen-notify/listen-notify.ts";
import { MarkedSink } from "./marked-sink.ts";
import type { Peer, Variant } from "./peer.ts";
import { PEER_LOG } from "./peer-process.ts";
import { pgNet } from "./pg-net/pg-net.ts";
import { pgstream } from "./pgstream/pgstream.ts";
import { Trial, type TrialResult, type TrialSize } from "./trial.ts";
import { walhook } from "./walhook.ts";
import { TABLE } from "./workload.ts";

const PEERS: readonly Peer[] = [walhook, listenNotify, pgNet, debezium, pgstream];

/** The same events through Walhook and through what others use, each on a server of its own, one after the other. */
export const peers: Scenario = {
  name: "peers",
  summary:
    "the same events, one a request, through Walhook and its peers, as they come and tuned; those that are not installed are named",
  options: {
    "peer-events": { help: "events of the burst", full: 10_000, quick: 2000 },
    "peer-crash-events": { help: "events of the burst in whose middle the peer is killed", full: 6000, quick: 3000 },
    "peer-seconds": { help: "seconds with 50 events each, for the latency", full: 20, quick: 6 },
    "peer-rounds": { help: "rounds, each of which runs all", full: 3, quick: 1 },
    peer: {
      help: `the only one to run: ${PEERS.map(({ name }, i) => `${i + 1} ${name}`).join(", ")}; 0: all`,
      full: 0,
      quick: 0,
    },
  },
  run: measure,
};

interface Line {
  readonly variant: string;
  readonly postgres: string;
  readonly results: TrialResult[];
  failure: string | null;
}

async function measure(context: ScenarioContext): Promise<Report> {
  const only = context.option("peer");
  const chosen = PEERS.filter((_, index) => only === 0 || index === only - 1);
  const missing = new Map<Peer, string>();
  for (const peer of chosen) {
    const reason = await peer.missing();
    if (reason !== null) missing.set(peer, reason);
  }
  const lines = new Map<Variant, Line>();
  const size: TrialSize = {
    events: context.option("peer-events"),
    crashEvents: context.option("peer-crash-events"),
    seconds: context.option("peer-seconds"),
  };
  for (let round = 0; round < context.option("peer-rounds"); round++) {
    for (const peer of chosen.filter((one) => !missing.has(one)))
      for (const variant of peer.variants) await tryOne(context, peer, variant, size, lines);
  }
  return report([...lines.values()], missing);
}

/** A peer that fails takes no other's figures away: its line says why. */
async function tryOne(
  context: ScenarioContext,
  peer: Peer,
  variant: Variant,
  size: TrialSize,
  lines: Map<Variant, Line>,
): Promise<void> {
  const name = `${peer.name}, ${variant.name}`;
  const nativeDir = await peer.server.nativeDir();
  await using stage = await Stage.open(context.cli, ["track_commit_timestamp=on", ...(variant.settings ?? [])], {
    hasWalhook: peer.server.hasWalhook ?? false,
    ...(nativeDir === null ? {} : { nativeDir }),
  });
  const line = lines.get(variant) ?? {
    variant: name,
    postgres: stage.version.split(" ")[0] ?? "",
    results: [],
    failure: null,
  };
  lines.set(variant, line);
  try {
    const sink = await MarkedSink.start();
    stage.defer(() => sink.close());
    await stage.app(TABLE);
    const running = await variant.start({ stage, sinkUrl: sink.url });
    const result = await new Trial(stage, sink, running).run(size);
    line.results.push(result);
    context.note(
      `${name}: ${Math.round(result.perSecond)}/s, lost ${result.lost}, p50 ${result.p50Ms.toFixed(1)} ms, p99 ${result.p99Ms.toFixed(1)} ms, lost by a kill ${result.crashLost}`,
    );
  } catch (error) {
    line.failure = error instanceof Error ? error.message : String(error);
    context.note(`${name} failed: ${line.failure}\n${await endOfLog(stage)}`);
  }
}

/** The last that the peer printed. */
async function endOfLog(stage: Stage): Promise<string> {
  const text = await readFile(join(stage.folder, PEER_LOG), "utf8").catch(() => "");
  return text.split("\n").slice(-40).join("\n");
}

function report(lines: readonly Line[], missing: ReadonlyMap<Peer, string>): Report {
  const measured = lines.filter(({ results }) => results.length > 0);
  const failed = lines.filter(({ failure }) => failure !== null);
  const outs: Cell[][] = [
    ...[...missing].map(([peer, reason]) => [peer.name, reason]),
    ...failed.map(({ variant, failure }) => [variant, failure]),
  ];
  return {
    tables: [
      {
        title: `a burst of events, medians of ${measured[0]?.results.length ?? 0} rounds (lost and repeated: the worst round)`,
        columns: [
          "what",
          "PostgreSQL",
          "events/s",
          "lost",
          "repeated",
          "peer CPU s per 100,000",
          "server CPU s per 100,000",
        ],
        rows: measured.map(({ variant, postgres, results }) => [
          variant,
          postgres,
          mid(results, "perSecond"),
          worst(results, "lost"),
          worst(results, "repeated"),
          mid(results, "peerCpu"),
          mid(results, "serverCpu"),
        ]),
      },
      {
        title: "50 events/s: from the commit to the arrival",
        columns: ["what", "p50 ms", "p99 ms", "lost"],
        rows: measured.map(({ variant, results }) => [
          variant,
          mid(results, "p50Ms"),
          mid(results, "p99Ms"),
          worst(results, "steadyLost"),
        ]),
      },
      {
        title: "killed in the middle of a burst and started again at once (the worst round)",
        columns: ["what", "lost", "repeated"],
        rows: measured.map(({ variant, results }) => [
          variant,
          worst(results, "crashLost"),
          worst(results, "crashRepeated"),
        ]),
      },
      ...(outs.length === 0 ? [] : [{ title: "without figures", columns: ["what", "why"], rows: outs }]),
    ],
    goals: [],
  };
}

function mid(results: readonly TrialResult[], key: keyof TrialResult): Cell {
  const value = median(results.map((result) => result[key]));
  return Number.isNaN(value) ? null : value;
}

function worst(results: readonly TrialResult[], key: keyof TrialResult): Cell {
  return Math.max(...results.map((result) => result[key]));
}
