import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { stripVTControlCharacters } from "node:util";
import type { Report } from "../report.ts";
import type { Scenario, ScenarioContext } from "../scenario.ts";
import { Stage } from "../stage.ts";
import { debezium } from "./debezium/debezium.ts";
import { listenNotify } from "./listen-notify/listen-notify.ts";
import { MarkedSink } from "./marked-sink.ts";
import type { Peer, Variant } from "./peer.ts";
import { PEER_LOG } from "./peer-process.ts";
import { type PeerLine, peersReport } from "./peers-report.ts";
import { pgNet } from "./pg-net/pg-net.ts";
import { pgstream } from "./pgstream/pgstream.ts";
import { Trial, type TrialSize } from "./trial.ts";
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
  isOnlyByName: true,
  run: measure,
};

async function measure(context: ScenarioContext): Promise<Report> {
  const only = context.option("peer");
  const chosen = PEERS.filter((_, index) => only === 0 || index === only - 1);
  const missing = new Map<Peer, string>();
  for (const peer of chosen) {
    const reason = await peer.missing();
    if (reason !== null) missing.set(peer, reason);
  }
  const lines = new Map<Variant, PeerLine>();
  const size: TrialSize = {
    events: context.option("peer-events"),
    crashEvents: context.option("peer-crash-events"),
    seconds: context.option("peer-seconds"),
  };
  for (let round = 0; round < context.option("peer-rounds"); round++) {
    for (const peer of chosen.filter((one) => !missing.has(one)))
      for (const variant of peer.variants) await tryOne(context, peer, variant, size, lines);
  }
  return peersReport([...lines.values()], new Map([...missing].map(([{ name }, reason]) => [name, reason])));
}

/** A peer that fails takes no other's figures away: its line says why. */
async function tryOne(
  context: ScenarioContext,
  peer: Peer,
  variant: Variant,
  size: TrialSize,
  lines: Map<Variant, PeerLine>,
): Promise<void> {
  const name = `${peer.name}, ${variant.name}`;
  const nativeDir = await peer.server.nativeDir();
  const settings = [
    "track_commit_timestamp=on",
    ...(variant.settings ?? []),
    ...((await peer.server.settings?.()) ?? []),
  ];
  await using stage = await Stage.open(context.cli, settings, {
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
    [line.failure = ""] = stripVTControlCharacters(error instanceof Error ? error.message : String(error)).split("\n");
    context.note(`${name} failed: ${String(error)}\n${await endOfLog(stage)}`);
  }
}

/** The last that the peer printed. */
async function endOfLog(stage: Stage): Promise<string> {
  const text = await readFile(join(stage.folder, PEER_LOG), "utf8").catch(() => "");
  return text.split("\n").slice(-40).join("\n");
}
