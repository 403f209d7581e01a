import { decodeAlone } from "./decoder.ts";
import { median } from "./percentile.ts";
import type { Report } from "./report.ts";
import type { Scenario, ScenarioContext } from "./scenario.ts";
import { Sink } from "./sink.ts";
import { Stage } from "./stage.ts";
import { until } from "./wait.ts";

const ROWS_A_TRANSACTION = 100;
const SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/** How fast the WAL is read where the webhook's part is small, against the decoder alone. */
export const reading: Scenario = {
  name: "reading",
  summary:
    "a backlog in the WAL: condition false for 99 %, and all of it in batches of 100; beside it the decoder alone",
  options: {
    "read-events": { help: "events a round", full: 200_000, quick: 10_000 },
    "read-rounds": { help: "rounds, each of which measures all", full: 3, quick: 1 },
  },
  worksOnGivenServer: true,
  run: measure,
};

interface Way {
  readonly name: string;
  readonly condition: string;
  readonly batchSize: number;
  /** Of so many events one is delivered. */
  readonly oneIn: number;
}

const WAYS: readonly Way[] = [
  { name: "condition false for 99 %", condition: "doc.id % 100 = 0", batchSize: 1, oneIn: 100 },
  { name: "100 events a request", condition: "doc.total > 0", batchSize: 100, oneIn: 1 },
];

interface Measured {
  readonly perSecond: number;
  readonly cpu: number;
  readonly maxMb: number;
}

async function measure(context: ScenarioContext): Promise<Report> {
  const events = Math.ceil(context.option("read-events") / ROWS_A_TRANSACTION) * ROWS_A_TRANSACTION;
  await using stage = await Stage.open(context.cli);
  const sink = await Sink.start();
  stage.defer(() => sink.close());
  await stage.app(
    "create table event (id bigint primary key, n integer not null, status text, total numeric, note text)",
  );
  await stage.admin(`insert into walhook.webhook
      (name, webhook_doctype, webhook_docevent, request_url, condition, enable_security, webhook_secret)
    values ('w', 'event', 'after_insert', '${sink.url}/', 'doc.total > 0', true, '${SECRET}')`);
  const rounds = WAYS.map((): { readonly bridge: Measured; readonly alone: Measured }[] => []);
  for (let round = 0; round < context.option("read-rounds"); round++) {
    for (const [index, way] of WAYS.entries()) {
      await prepare(stage, way, events);
      const decoded = await decodeAlone(stage, context.cli);
      const alone = {
        perSecond: decoded.changes / ((decoded.lastAtMs - decoded.firstAtMs) / 1000),
        cpu: (decoded.cpuSeconds / decoded.changes) * 100_000,
        maxMb: decoded.maxMb,
      };
      const bridge = await read(stage, sink, way, events);
      rounds[index]?.push({ bridge, alone });
      context.note(
        `round ${round + 1}, ${way.name}: ${Math.round(bridge.perSecond)}/s, decoder alone ${Math.round(alone.perSecond)}/s`,
      );
    }
  }
  return report(rounds, `PostgreSQL ${stage.version}, receiver ${sink.name}`);
}

/** Commits events while no bridge runs. What is read before them is the webhook's own change. */
async function prepare(stage: Stage, { condition, batchSize }: Way, events: number): Promise<void> {
  await stage.admin(`update walhook.webhook set batch_size = ${batchSize}, condition = '${condition}'`);
  await stage.app("truncate event");
  await stage.app(`do $$ begin
    for part in 0..${events / ROWS_A_TRANSACTION - 1} loop
      insert into event select part * ${ROWS_A_TRANSACTION} + i, i, 'Paid', 99.90, repeat('note ', 20)
        from generate_series(1, ${ROWS_A_TRANSACTION}) i;
      commit;
    end loop; end $$`);
}

/** From the first to the last arrival, which stand for the first and the last event. */
async function read(stage: Stage, sink: Sink, { oneIn }: Way, events: number): Promise<Measured> {
  await sink.reset();
  const logged = await stage.number("select count(*) from walhook.webhook_request_log");
  const bridge = stage.bridge();
  // Counting the log costs the more the longer it is, so it is not counted while the time is taken.
  await stage.caughtUp();
  const isDone = async (): Promise<boolean> =>
    (await stage.number("select count(*) from walhook.webhook_request_log")) >= logged + events / oneIn;
  await until("all deliveries in the log", isDone, { withinMs: 600_000, everyMs: 1000 });
  const cpu = bridge.cpuSeconds ?? Number.NaN;
  const maxMb = bridge.peakResidentMb;
  await bridge.stop();
  const { firstAtMs, lastAtMs } = await sink.count();
  const seconds = (lastAtMs - firstAtMs) / 1000;
  return { perSecond: (events - oneIn) / seconds, cpu: (cpu / events) * 100_000, maxMb };
}

function report(
  rounds: readonly (readonly { readonly bridge: Measured; readonly alone: Measured }[])[],
  versions: string,
): Report {
  const rows = WAYS.map(({ name }, index) => {
    const of = (pick: (round: { readonly bridge: Measured; readonly alone: Measured }) => number): number =>
      median((rounds[index] ?? []).map(pick));
    return {
      name,
      ratio: of(({ bridge, alone }) => bridge.perSecond / alone.perSecond),
      cells: [
        of(({ bridge }) => bridge.perSecond),
        of(({ alone }) => alone.perSecond),
        of(({ bridge, alone }) => bridge.perSecond / alone.perSecond),
        of(({ bridge }) => bridge.cpu),
        of(({ alone }) => alone.cpu),
        of(({ bridge }) => bridge.maxMb),
        of(({ alone }) => alone.maxMb),
      ],
    };
  });
  return {
    tables: [
      {
        title: `reading, ${versions}, medians of ${rounds[0]?.length ?? 0} rounds`,
        columns: [
          "what",
          "events/s",
          "decoder alone",
          "ratio",
          "bridge CPU s per 100,000",
          "decoder CPU s",
          "bridge peak RSS MB",
          "decoder peak RSS MB",
        ],
        rows: rows.map(({ name, cells }) => [name, ...cells]),
      },
    ],
    goals: rows.map(({ name, ratio }) => ({
      what: `${name}, of the decoder alone`,
      goal: ">= 0.70",
      measured: ratio.toFixed(2),
      isMet: ratio >= 0.7,
    })),
  };
}
