import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { median } from "./percentile.ts";
import { ServerCostWatch } from "./process-costs.ts";
import type { Report } from "./report.ts";
import type { Scenario, ScenarioContext } from "./scenario.ts";
import { Sink } from "./sink.ts";
import { Stage } from "./stage.ts";
import { until } from "./wait.ts";

const DISPATCH = fileURLToPath(new URL("./dispatch-process.js", import.meta.url));
const CONCURRENCY = 50;
const SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/** How fast events leave, one a request and in batches, against nothing but sending. */
export const deliveries: Scenario = {
  name: "deliveries",
  summary:
    "a backlog in the WAL, condition true, signed, logged: one event a request, and 100; beside it the same requests and nothing else",
  options: {
    events: { help: "events a round", full: 60_000, quick: 5000 },
    rounds: { help: "rounds, each of which measures all", full: 3, quick: 1 },
  },
  worksOnGivenServer: true,
  run: measure,
};

interface Round {
  readonly single: Rate;
  readonly batched: Rate;
  readonly ceiling: number;
}

interface Rate {
  readonly perSecond: number;
  /** Processor seconds for 100,000 events, by process. */
  readonly cpu: ReadonlyMap<string, number>;
  readonly maxMb: number;
}

async function measure(context: ScenarioContext): Promise<Report> {
  const events = context.option("events");
  await using stage = await Stage.open(context.cli);
  const sink = await Sink.start();
  stage.defer(() => sink.close());
  await stage.app(
    "create table event (id bigint primary key, n integer not null, status text, total numeric, note text)",
  );
  await stage.admin(`insert into walhook.webhook
      (name, webhook_doctype, webhook_docevent, request_url, condition, enable_security, webhook_secret)
    values ('w', 'event', 'after_insert', '${sink.url}/', 'doc.total > 0', true, '${SECRET}')`);
  const rounds: Round[] = [];
  for (let round = 0; round < context.option("rounds"); round++) {
    const single = await drain(context, stage, sink, { events, batchSize: 1 });
    const batched = await drain(context, stage, sink, { events, batchSize: 100 });
    const ceiling = await dispatchAlone(sink, events);
    rounds.push({ single, batched, ceiling });
    context.note(
      `round ${round + 1}: ${Math.round(single.perSecond)}/s alone, ${Math.round(batched.perSecond)}/s in batches, ceiling ${Math.round(ceiling)}/s`,
    );
  }
  return report(rounds, `PostgreSQL ${stage.version}, receiver ${sink.name}`);
}

/** Commits events while no bridge runs, then starts one and takes the time from the first to the last arrival. */
async function drain(
  context: ScenarioContext,
  stage: Stage,
  sink: Sink,
  { events, batchSize }: { readonly events: number; readonly batchSize: number },
): Promise<Rate> {
  await stage.admin(`update walhook.webhook set batch_size = ${batchSize}`);
  await stage.app("truncate event");
  await stage.app(`do $$ begin
    for part in 1..${Math.ceil(events / 100)} loop
      insert into event select part * 100 + i, i, 'Paid', 99.90, repeat('note ', 20) from generate_series(1, 100) i;
      commit;
    end loop; end $$`);
  await sink.reset();
  const logged = await stage.number("select count(*) from walhook.webhook_request_log");
  const { cpuSeconds: sinkFrom } = await sink.count();
  const server = await ServerCostWatch.start(stage);
  const bridge = stage.bridge();
  const requests = Math.ceil(events / 100) * 100;
  // Counting the log costs the more the longer it is, so it is not counted while the time is taken.
  await stage.caughtUp();
  const isDone = async (): Promise<boolean> =>
    (await stage.number("select count(*) from walhook.webhook_request_log")) >= logged + requests;
  await until("all events in the log", isDone, { withinMs: 600_000, everyMs: 1000 });
  const costs = [["bridge", bridge.cpuSeconds ?? Number.NaN] as const, ...(await server.take())];
  const maxMb = bridge.peakResidentMb;
  await bridge.stop();
  const { firstAtMs, lastAtMs, cpuSeconds: sinkTo } = await sink.count();
  const cpu = new Map(
    [...costs, ["receiver", sinkTo - sinkFrom] as const].map(([name, s]) => [name, (s / requests) * 1e5]),
  );
  context.note(`batch_size ${batchSize}: ${((lastAtMs - firstAtMs) / 1000).toFixed(1)} s`);
  return { perSecond: requests / ((lastAtMs - firstAtMs) / 1000), cpu, maxMb };
}

async function dispatchAlone(sink: Sink, events: number): Promise<number> {
  await sink.reset();
  const child = spawn(process.execPath, [DISPATCH, `${sink.url}/`, String(events), String(CONCURRENCY), "500"]);
  await once(child, "exit");
  const { requests, firstAtMs, lastAtMs } = await sink.count();
  if (requests !== events) throw new Error(`the ceiling sent ${requests} of ${events} requests`);
  return requests / ((lastAtMs - firstAtMs) / 1000);
}

function report(rounds: readonly Round[], versions: string): Report {
  const of = (pick: (round: Round) => number): number => median(rounds.map(pick));
  const single = of((round) => round.single.perSecond);
  const batched = of((round) => round.batched.perSecond);
  const ceiling = of((round) => round.ceiling);
  const processes = [...new Set(rounds.flatMap((r) => [...r.single.cpu.keys(), ...r.batched.cpu.keys()]))];
  return {
    tables: [
      {
        title: `deliveries, ${versions}, medians of ${rounds.length} rounds`,
        columns: ["what", "events/s", "of the ceiling", "peak RSS MB"],
        rows: [
          ["one event a request", single, single / ceiling, of((r) => r.single.maxMb)],
          ["100 events a request", batched, batched / ceiling, of((r) => r.batched.maxMb)],
          ["undici dispatch alone", ceiling, 1, null],
        ],
      },
      {
        title: "processor seconds for 100,000 events, by process",
        columns: ["process", "one event a request", "100 events a request"],
        rows: processes.map((name) => [
          name,
          of((r) => r.single.cpu.get(name) ?? 0),
          of((r) => r.batched.cpu.get(name) ?? 0),
        ]),
      },
    ],
    goals: [
      {
        what: "one event a request",
        goal: ">= 10,000/s",
        measured: `${Math.round(single)}/s`,
        isMet: single >= 10_000,
      },
      {
        what: "one event a request, of the ceiling",
        goal: ">= 0.60",
        measured: (single / ceiling).toFixed(2),
        isMet: single >= 0.6 * ceiling,
      },
    ],
  };
}
