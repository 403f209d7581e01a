import type { Cell, Report } from "./report.ts";
import type { Scenario, ScenarioContext } from "./scenario.ts";
import { Stage } from "./stage.ts";
import { sleep } from "./wait.ts";

/** Many webhooks, spread over many tables. */
export const manyWebhooks: Scenario = {
  name: "many-webhooks",
  summary: "many webhooks over many tables, against one on one table: start, memory, cost of an event",
  options: {
    webhooks: { help: "webhooks", full: 10_000, quick: 200 },
    tables: { help: "tables", full: 1000, quick: 20 },
    events: { help: "rows that are written for each measurement", full: 200_000, quick: 20_000 },
    "idle-seconds": { help: "how long nothing happens", full: 10, quick: 1 },
  },
  run: async (context) => {
    const one = await measure(context, 1, 1);
    const many = await measure(context, context.option("webhooks"), context.option("tables"));
    return {
      tables: [
        {
          title: `${context.option("events")} inserts into a table: watched for updates only, then watched with conditions that are false`,
          columns: [
            "webhooks",
            "tables",
            "set up (s)",
            "start (s)",
            "RSS running (MB)",
            "RSS max (MB)",
            "idle, bridge (ms/s)",
            "idle, server (ms/s)",
            "event nobody waits for (us)",
            "event, conditions false (us)",
            "conditions an event",
          ],
          rows: [one, many],
        },
      ],
      goals: [
        {
          what: "memory of many webhooks",
          goal: "< 400 MB",
          measured: `${Number(many[5]).toFixed(0)} MB`,
          isMet: Number(many[5]) < 400,
        },
        {
          what: "an event of another doc event costs nothing for each webhook",
          goal: "<= 1.5 x the cost with one webhook",
          measured: `${(Number(many[8]) / Number(one[8])).toFixed(2)} x`,
          isMet: Number(many[8]) <= 1.5 * Number(one[8]),
        },
      ],
    } satisfies Report;
  },
};

async function measure(context: ScenarioContext, webhooks: number, tables: number): Promise<readonly Cell[]> {
  await using stage = await Stage.open(context.cli, ["max_locks_per_transaction=512"]);
  const receiver = await stage.receiver();
  await stage.app(`do $$ begin
    for i in 1..${tables} loop execute format('create table t%s (id bigint primary key, n integer, note text)', i); end loop; end $$`);
  context.note(`${webhooks} webhooks on ${tables} tables`);
  const setUpFrom = Date.now();
  // A webhook a statement, as people and migrations write them; half have a condition on inserts, half watch for updates.
  const AT_ONCE = 500;
  for (let from = 1; from <= webhooks; from += AT_ONCE) {
    await stage.admin(`do $$ begin
      for i in ${from}..${Math.min(webhooks, from + AT_ONCE - 1)} loop
        insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url, condition)
        values ('w' || i, 't' || (1 + i % ${tables}), case when i / ${tables} % 2 = 0 then 'on_update' else 'after_insert' end, '${receiver.url}/',
          case when i / ${tables} % 2 = 1 then 'doc.n < 0' end);
      end loop; end $$`);
  }
  if (webhooks === 1) {
    await stage.admin(`insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url, condition)
      values ('insert', 't1', 'after_insert', '${receiver.url}/', 'doc.n < 0')`);
  }
  const setUpSeconds = (Date.now() - setUpFrom) / 1000;
  const learning = stage.bridge();
  await learning.running();
  await stage.caughtUp();
  await learning.stop();

  const bridge = stage.bridge();
  await bridge.running();
  const startSeconds = (Date.now() - bridge.startedAtMs) / 1000;
  const runningMb = bridge.residentMb;
  await stage.caughtUp();
  const idleSeconds = context.option("idle-seconds");
  const idleFrom = { bridge: bridge.cpuSeconds ?? Number.NaN, server: stage.serverCpuSeconds };
  await sleep(idleSeconds * 1000);
  const idleBridge = ((bridge.cpuSeconds ?? Number.NaN) - idleFrom.bridge) / idleSeconds;
  const idleServer = (stage.serverCpuSeconds - idleFrom.server) / idleSeconds;
  const events = context.option("events");
  // The inserts of a table whose webhooks on inserts are disabled find nobody who waits for them.
  const busy = "t1";
  const conditions = await stage.number(
    `select count(*) from walhook.webhook where webhook_doctype = '${busy}'::regclass and condition is not null`,
  );
  const withConditions = await costOf(
    stage,
    bridge,
    `insert into ${busy} select i, 1, 'note' from generate_series(1, ${events}) i`,
  );
  await stage.admin(
    `update walhook.webhook set enabled = false where webhook_doctype = '${busy}'::regclass and condition is not null`,
  );
  await stage.caughtUp();
  const forNobody = await costOf(
    stage,
    bridge,
    `insert into ${busy} select -i, 1, 'note' from generate_series(1, ${events}) i`,
  );
  const peakMb = bridge.peakResidentMb;
  await bridge.stop();
  return [
    webhooks,
    tables,
    setUpSeconds,
    startSeconds,
    runningMb,
    peakMb,
    idleBridge * 1000,
    idleServer * 1000,
    (forNobody / events) * 1e6,
    (withConditions / events) * 1e6,
    conditions,
  ];
}

/** Processor seconds of the bridge for what a statement writes. */
async function costOf(stage: Stage, bridge: ReturnType<Stage["bridge"]>, sql: string): Promise<number> {
  const before = bridge.cpuSeconds ?? Number.NaN;
  await stage.app(sql);
  await stage.caughtUp();
  return (bridge.cpuSeconds ?? Number.NaN) - before;
}
