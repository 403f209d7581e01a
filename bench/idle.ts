import type { Report } from "./report.ts";
import type { Scenario, ScenarioContext } from "./scenario.ts";
import { Stage } from "./stage.ts";
import { sleep, until } from "./wait.ts";
import { WireTap } from "./wire-tap.ts";

/** A backend tells what it wrote up to 10 s later (PGSTAT_IDLE_INTERVAL in PostgreSQL's pgstat.c). */
const SETTLE_MS = 12_000;
const FOLLOW_MS = 3000;

/** What a bridge costs a database in which nothing happens. */
export const idle: Scenario = {
  name: "idle",
  summary: "a bridge on an idle database: messages, WAL, the slot while another database writes, a fast shutdown",
  options: { seconds: { help: "length of each measurement", full: 60, quick: 10 } },
  isOnlyByName: true,
  run: measure,
};

async function measure(context: ScenarioContext): Promise<Report> {
  const seconds = context.option("seconds");
  await using stage = await Stage.open(context.cli);
  const receiver = await stage.receiver();
  await stage.app("create table event (id bigint primary key, n integer not null)");
  await stage.admin(`insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url)
    values ('event', 'event', 'after_insert', '${receiver.url}/')`);
  context.note(`idle for ${seconds} s, without a bridge`);
  await stage.look("checkpoint");
  await sleep(SETTLE_MS);
  const alone = await activity(stage);
  await sleep(seconds * 1000);
  const walAlone = (((await activity(stage)).wal - alone.wal) / seconds) * 60;

  const tap = await WireTap.start(stage.server.port);
  stage.defer(() => tap.close());
  const url = new URL(stage.server.url("bench", "bench_bridge"));
  url.port = String(tap.port);
  const bridge = stage.bridge([], url.toString());
  await bridge.running();
  await stage.app("insert into event values (1, 0)");
  await until("the first delivery", async () => (await receiver.tally()).requests === 1);
  await stage.look("checkpoint");
  await sleep(SETTLE_MS);

  context.note(`idle for ${seconds} s, connected`);
  const before = { ...counts(tap), cpu: bridge.cpuSeconds ?? Number.NaN, ...(await activity(stage)) };
  await sleep(seconds * 1000);
  const after = { ...counts(tap), cpu: bridge.cpuSeconds ?? Number.NaN, ...(await activity(stage)) };
  const perSecond = (name: "keepalives" | "statusUpdates"): number => (after[name] - before[name]) / seconds;

  context.note("another database writes");
  const slotBefore = await slotLsn(stage);
  await stage.look("create database other");
  await until("the slot's progress", async () => (await slotLsn(stage)) !== slotBefore, { withinMs: 30_000 }).catch(
    () => {},
  );
  await sleep(FOLLOW_MS);
  const behindMb = await stage.number(
    "select pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn) / 1048576 from pg_replication_slots",
  );
  const otherMessages = tap.keepalives - after.keepalives;

  context.note("pg_ctl stop -m fast, connected");
  const stopFrom = Date.now();
  await stage.server.stop("fast");
  const stopSeconds = (Date.now() - stopFrom) / 1000;
  await stage.server.start();
  await bridge.stop();

  const wal = ((after.wal - before.wal) / seconds) * 60;
  const rows = after.rows - before.rows;
  return {
    tables: [
      {
        title: `idle for ${seconds} s`,
        columns: [
          "keepalives/s",
          "status updates/s",
          "WAL bytes/min",
          "without a bridge",
          "rows written",
          "bridge CPU (ms/s)",
          "RSS (MB)",
          "behind, another database writing (MB)",
          "fast shutdown (s)",
        ],
        rows: [
          [
            perSecond("keepalives"),
            perSecond("statusUpdates"),
            wal,
            walAlone,
            rows,
            ((after.cpu - before.cpu) / seconds) * 1000,
            bridge.maxResidentMb,
            behindMb,
            stopSeconds,
          ],
        ],
      },
    ],
    goals: [
      { what: "no writes of ours", goal: "0 rows", measured: `${rows} rows`, isMet: rows === 0 },
      {
        what: "keepalives",
        goal: "< 1/s",
        measured: `${perSecond("keepalives").toFixed(2)}/s`,
        isMet: perSecond("keepalives") < 1,
      },
      {
        what: "the slot follows another database",
        goal: "< 1 MB behind",
        measured: `${behindMb.toFixed(2)} MB after ${otherMessages} keepalives`,
        isMet: behindMb < 1,
      },
      { what: "fast shutdown", goal: "< 2 s", measured: `${stopSeconds.toFixed(2)} s`, isMet: stopSeconds < 2 },
    ],
  };
}

function counts({ keepalives, statusUpdates, data }: WireTap): {
  keepalives: number;
  statusUpdates: number;
  data: number;
} {
  return { keepalives, statusUpdates, data };
}

/** WAL position, and rows that anybody wrote in this database. */
async function activity(stage: Stage): Promise<{ readonly wal: number; readonly rows: number }> {
  return {
    wal: await stage.number("select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')"),
    rows: await stage.number("select sum(n_tup_ins + n_tup_upd + n_tup_del) from pg_stat_user_tables"),
  };
}

async function slotLsn(stage: Stage): Promise<string> {
  const [row] = await stage.look("select confirmed_flush_lsn::text as lsn from pg_replication_slots");
  return String(row?.["lsn"]);
}
