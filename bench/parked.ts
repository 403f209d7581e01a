import type { Report } from "./report.ts";
import type { Scenario, ScenarioContext } from "./scenario.ts";
import { Stage } from "./stage.ts";
import { sleep, until } from "./wait.ts";

/** Deliveries of one document: only the first of them is due. */
const LANE_LENGTH = 5;
/** How long the memory of a bridge with a full queue and a dead endpoint is watched. */
const WATCH_MS = 15_000;
/** Time for filling the queue and for the slot to pass it, before the deliveries are due. */
const FILL_MS = 10_000;
const FILL_MS_EACH = 0.08;

/** A start with a long queue. */
export const parked: Scenario = {
  name: "parked",
  summary:
    "a start with many parked deliveries of a webhook whose endpoint refuses, beside a live one; then the endpoint is back",
  options: {
    deliveries: { help: "deliveries in the queue", full: 1_000_000, quick: 20_000 },
    "drain-seconds": { help: "how long the drain is watched at most", full: 120, quick: 60 },
  },
  run: measure,
};

async function measure(context: ScenarioContext): Promise<Report> {
  const deliveries = context.option("deliveries");
  await using stage = await Stage.open(context.cli);
  const live = await stage.receiver();
  const troubled = await stage.receiver();
  await troubled.behave("refuse");
  await stage.app(`create table event (id bigint primary key, n integer not null, note text);
    create table parked (id bigint primary key, n integer not null, note text)`);
  await stage.admin(`insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url, retry_schedule)
    values ('live', 'event', 'after_insert', '${live.url}/', null),
           ('troubled', 'parked', 'after_insert, on_update', '${troubled.url}/', array_fill('5 s'::interval, array[100]))`);
  await letBridgeLearn(stage);
  context.note(`filling the queue with ${deliveries} deliveries`);
  const dueAtMs = Date.now() + FILL_MS + deliveries * FILL_MS_EACH;
  await fillQueue(stage, deliveries, dueAtMs);
  // The slot passes the WAL of filling, as it would have where deliveries are parked one by one.
  const passing = stage.bridge();
  await stage.caughtUp();
  await passing.stop();
  await stage.look("checkpoint");
  await sleep(Math.max(0, dueAtMs - Date.now()));

  // Committed while no bridge runs: the first thing that it can deliver.
  await stage.app("insert into event values (1, 0, 'first')");
  const bridge = stage.bridge();
  const first = await until("the first live delivery", async () => (await live.tally()).firstAtMs, { everyMs: 10 });
  const secondsToFirst = (first - bridge.startedAtMs) / 1000;
  context.note(`first live delivery after ${secondsToFirst.toFixed(2)} s`);
  const writer = await stage.writer({
    rate: 50,
    from: 10,
    statements: ["insert into event values ($1::bigint, 0, 'live')"],
  });
  await live.reset();
  await sleep(WATCH_MS);
  const beside = await live.tally();
  await writer.stop();
  const deadMb = bridge.maxResidentMb;

  context.note("the endpoint is back");
  bridge.forgetMemory();
  await troubled.reset();
  await troubled.behave("accept");
  const backAtMs = Date.now();
  const withinMs = context.option("drain-seconds") * 1000;
  await until("the drain", async () => (await troubled.tally()).distinct >= deliveries, {
    withinMs,
    everyMs: 200,
  }).catch(() => {});
  const tally = await troubled.tally();
  const drainMb = bridge.maxResidentMb;
  const busySeconds = ((tally.lastAtMs ?? 0) - (tally.firstAtMs ?? 0)) / 1000;
  const allMb = bridge.peakResidentMb;
  await bridge.stop();
  return {
    tables: [
      {
        title: `${deliveries} parked deliveries, ${LANE_LENGTH} a document`,
        columns: [
          "start to first live delivery (s)",
          "live p50 (ms)",
          "live p99 (ms)",
          "RSS, endpoint dead (MB)",
          "back to first (s)",
          "drained",
          "drained/s",
          "RSS, draining (MB)",
          "most at once",
          "out of order",
        ],
        rows: [
          [
            secondsToFirst,
            beside.latencyMs?.p50 ?? null,
            beside.latencyMs?.p99 ?? null,
            deadMb,
            ((tally.firstAtMs ?? Number.NaN) - backAtMs) / 1000,
            tally.distinct,
            tally.requests / busySeconds,
            drainMb,
            tally.mostAtOnce,
            tally.inverted,
          ],
        ],
      },
    ],
    goals: [
      {
        what: "the drain keeps the order",
        goal: "0 out of order",
        measured: String(tally.inverted),
        isMet: tally.inverted === 0,
      },
      { what: "memory is flat", goal: "< 400 MB", measured: `${allMb.toFixed(0)} MB`, isMet: allMb < 400 },
    ],
  };
}

/** The bridge runs once, so that the webhooks are in force, and stops. */
async function letBridgeLearn(stage: Stage): Promise<void> {
  const bridge = stage.bridge();
  await bridge.running();
  await until(
    "the webhooks in force",
    async () => (await stage.number("select count(*) from walhook.webhook_in_force")) === 2,
  );
  await bridge.stop();
}

/** As if they had been parked long ago: the first of each document is due, the others wait behind it. */
async function fillQueue(stage: Stage, deliveries: number, dueAtMs: number): Promise<void> {
  const body = `'{"type":"public.parked.on_update","timestamp":"2026-01-01T00:00:00.000000Z","data":{"doctype":"public.parked","doc":{"id":'
     || (i - 1) / ${LANE_LENGTH} || ',"n":' || (i - 1) % ${LANE_LENGTH} || ',"note":"' || repeat('x', 300) || '"}}}'`;
  await stage.look(
    `insert into walhook.webhook_queue (delivery_id, webhook_id, webhook, kind, doctype, docname, docevent, source, commit_lsn,
       change_lsn, change_index, event_number, xid, commit_time, attempts, due_at, method, content_type, headers, body)
     select 'msg_parked_' || lpad(i::text, 12, '0'), w.id, w.name, 'request', 'public.parked', ((i - 1) / ${LANE_LENGTH})::text,
       'on_update', 'live', '0/100'::pg_lsn + i, '0/100'::pg_lsn + i, 0, 1, 1, now(), 1,
       case when (i - 1) % ${LANE_LENGTH} = 0 then to_timestamp(${dueAtMs} / 1000.0) end, 'POST', 'application/json', '[]', convert_to(${body}, 'UTF8')
     from walhook.webhook w, generate_series(1, ${deliveries}) i where w.name = 'troubled'`,
  );
  await stage.look("vacuum analyze walhook.webhook_queue");
}
