import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { isInstalled } from "./restart.ts";
import { median, percentile } from "./percentile.ts";
import type { Report } from "./report.ts";
import type { Scenario, ScenarioContext } from "./scenario.ts";
import { Sink } from "./sink.ts";
import { Stage } from "./stage.ts";
import { sleep, until } from "./wait.ts";

const CLIENTS = 8;
const RATE = 1000;
const SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const SCRIPT =
  "insert into event (n, status, total, note) values (0, 'Paid', 99.90, 'a note of the usual length, or so');\n";

/** What a bridge that delivers every insert costs whoever writes. */
export const writers: Scenario = {
  name: "writers",
  summary: `pgbench, ${CLIENTS} clients that insert, at ${RATE} a second and as fast as they can: alone, and with every insert delivered`,
  options: {
    "pgbench-seconds": { help: "length of each measurement", full: 8, quick: 1 },
    "pgbench-rounds": { help: "rounds, each of which measures all", full: 3, quick: 1 },
  },
  worksOnGivenServer: true,
  run: measure,
};

interface Cost {
  readonly p50: number;
  readonly p99: number;
  /** Of the writers' backends, microseconds a transaction. */
  readonly cpu: number;
  readonly perSecond: number;
  readonly deliveriesPerSecond: number;
}

interface Round {
  readonly steadyAlone: Cost;
  readonly steady: Cost;
  readonly freeAlone: Cost;
  readonly free: Cost;
}

async function measure(context: ScenarioContext): Promise<Report> {
  if (!(await isInstalled("pgbench"))) {
    context.note("pgbench is not installed: left out");
    return { tables: [{ title: "pgbench is not installed: left out", columns: [], rows: [] }], goals: [] };
  }
  // Its workers end while pgbench runs, and what they took would be counted as the writers'.
  await using stage = await Stage.open(context.cli, ["autovacuum=off"]);
  const sink = await Sink.start();
  stage.defer(() => sink.close());
  await stage.app(
    "create table event (id bigint generated always as identity primary key, n integer not null, status text, total numeric, note text)",
  );
  await stage.admin(`insert into walhook.webhook
      (name, webhook_doctype, webhook_docevent, request_url, condition, enable_security, webhook_secret)
    values ('w', 'event', 'after_insert', '${sink.url}/', 'doc.total > 0', true, '${SECRET}')`);
  const seconds = context.option("pgbench-seconds");
  const pgbench = (rate: number): Promise<Cost> => writeWith(stage, sink, { seconds, rate });
  const rounds: Round[] = [];
  for (let round = 0; round < context.option("pgbench-rounds"); round++) {
    const steadyAlone = await pgbench(RATE);
    const freeAlone = await pgbench(0);
    const bridge = stage.bridge();
    await bridge.running();
    await settled(stage);
    const steady = await pgbench(RATE);
    await settled(stage);
    const free = await pgbench(0);
    await bridge.stop();
    await stage.look("truncate walhook.webhook_request_log");
    rounds.push({ steadyAlone, steady, freeAlone, free });
    context.note(
      `round ${round + 1}: p99 ${steadyAlone.p99.toFixed(1)} ms alone, ${steady.p99.toFixed(1)} ms delivered; ${Math.round(freeAlone.perSecond)}/s and ${Math.round(free.perSecond)}/s`,
    );
  }
  return report(rounds, `PostgreSQL ${stage.version}, receiver ${sink.name}`);
}

/** Waits until nothing is left to deliver. */
async function settled(stage: Stage): Promise<void> {
  await stage.caughtUp();
  const isEmpty = async (): Promise<boolean> =>
    (await stage.number("select count(*) from walhook.webhook_queue")) === 0;
  await until("an empty queue", isEmpty, { withinMs: 600_000 });
}

async function writeWith(
  stage: Stage,
  sink: Sink,
  { seconds, rate }: { readonly seconds: number; readonly rate: number },
): Promise<Cost> {
  const folder = await mkdtemp(join(tmpdir(), "walhook-pgbench-"));
  await writeFile(join(folder, "insert.sql"), SCRIPT);
  await stage.app("truncate event");
  await sink.reset();
  const cpuFrom = endedCpuSeconds(stage);
  await promisify(execFile)(
    "pgbench",
    [
      "--no-vacuum",
      "--protocol=prepared",
      "--file=insert.sql",
      "--log",
      "--log-prefix=latency",
      `--client=${CLIENTS}`,
      "--jobs=2",
      `--time=${seconds}`,
      ...(rate > 0 ? [`--rate=${rate}`] : []),
      stage.server.url("bench", "bench_app"),
    ],
    { cwd: folder },
  );
  // Its backends end a little after it.
  await sleep(300);
  const cpu = endedCpuSeconds(stage) - cpuFrom;
  const { requests } = await sink.count();
  const latencies: number[] = [];
  for (const name of (await readdir(folder)).filter((file) => file.startsWith("latency."))) {
    // client, transaction, latency in us (from when it was due, where there is a rate), script, …
    for (const line of (await readFile(join(folder, name), "utf8")).trimEnd().split("\n")) {
      latencies.push(Number(line.split(" ")[2]) / 1000);
    }
  }
  await rm(folder, { recursive: true });
  const sorted = Float64Array.from(latencies).toSorted();
  return {
    p50: percentile(sorted, 0.5),
    p99: percentile(sorted, 0.99),
    cpu: (cpu / sorted.length) * 1e6,
    perSecond: sorted.length / seconds,
    deliveriesPerSecond: requests / seconds,
  };
}

/** Of the server's processes that have ended: between two looks at it those of pgbench. */
function endedCpuSeconds(stage: Stage): number {
  return stage.serverCpuSecondsEver - stage.serverCpuSeconds;
}

function report(rounds: readonly Round[], versions: string): Report {
  const of = (pick: (round: Round) => number): number => median(rounds.map(pick));
  const row = (name: string, pick: (round: Round) => Cost): readonly (string | number)[] => [
    name,
    of((r) => pick(r).perSecond),
    of((r) => pick(r).p50),
    of((r) => pick(r).p99),
    of((r) => pick(r).cpu),
    of((r) => pick(r).deliveriesPerSecond),
  ];
  const goal = (what: string, most: number, pick: (cost: Cost) => number): Report["goals"][number] => {
    const ratio = of(({ steady, steadyAlone }) => pick(steady) / pick(steadyAlone));
    return { what, goal: `<= ${most} x`, measured: `${ratio.toFixed(2)} x`, isMet: ratio <= most };
  };
  return {
    tables: [
      {
        title: `${CLIENTS} writers, ${versions}, medians of ${rounds.length} rounds; on this machine the bridge and its receiver share the writers' processors`,
        columns: ["what", "transactions/s", "p50 (ms)", "p99 (ms)", "backend CPU us a transaction", "deliveries/s"],
        rows: [
          row(`${RATE}/s, nobody reads`, (r) => r.steadyAlone),
          row(`${RATE}/s, all delivered`, (r) => r.steady),
          row("as fast as they can, nobody reads", (r) => r.freeAlone),
          row("as fast as they can, delivered meanwhile", (r) => r.free),
        ],
      },
    ],
    goals: [
      goal(`writers' p50 at ${RATE}/s`, 1.1, (cost) => cost.p50),
      goal(`writers' p99 at ${RATE}/s`, 1.1, (cost) => cost.p99),
      goal("backend CPU a transaction", 1.05, (cost) => cost.cpu),
    ],
  };
}
