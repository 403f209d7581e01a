import { type IsolationRun, reportIsolation } from "./isolation-report.ts";
import type { Receiver } from "./receiver.ts";
import type { Behaviour } from "./receiver-protocol.ts";
import type { Report } from "./report.ts";
import type { Scenario, ScenarioContext } from "./scenario.ts";
import { Stage } from "./stage.ts";
import { TROUBLED_CONDITIONS, type TroubledCondition } from "./troubled-conditions.ts";
import { sleep, until } from "./wait.ts";
import type { Writer } from "./writer.ts";

const WARM_UP_MS = 3000;
const CONCURRENCY = 50;
const DOCUMENTS = 1000;
const ENDPOINTS: readonly Behaviour[] = ["refuse", "hang", "slow", "drip"];

/** A live webhook beside one that is in trouble, on the same table. */
export const isolation: Scenario = {
  name: "isolation",
  summary: "a live webhook alone, and beside one whose endpoint or condition is in trouble, on the same table",
  options: {
    rate: { help: "events a second, a transaction each", full: 1000, quick: 300 },
    seconds: { help: "length of each measurement", full: 30, quick: 6 },
    "drain-seconds": { help: "how long the troubled webhook may take to drain", full: 600, quick: 120 },
  },
  isOnlyByName: true,
  run: measure,
};

async function measure(context: ScenarioContext): Promise<Report> {
  await using stage = await Stage.open(context.cli);
  const live = await stage.receiver();
  const troubled = await stage.receiver();
  const lag = await stage.lagWatch();
  await stage.app(`create table event (id bigint primary key, n integer not null, note text);
    insert into event select i, 0, 'document' from generate_series(1, ${DOCUMENTS}) i`);
  for (const { createFunction } of TROUBLED_CONDITIONS) await stage.admin(createFunction);
  await stage.admin(webhook("live", live.url));
  const bridge = stage.bridge(["--concurrency-per-webhook", String(CONCURRENCY)]);
  await bridge.running();
  // Half of the events are documents of their own, half are a thousand documents whose order can be watched.
  const writer = await stage.writer({
    rate: context.option("rate"),
    from: 1,
    statements: [
      `insert into event (id, n, note) values (1000000 + $1::bigint, 0, 'inserted')`,
      `update event set n = n + 1 where id = 1 + $1::bigint / 2 % ${DOCUMENTS}`,
    ],
  });
  await sleep(WARM_UP_MS);
  const scene: Scene = {
    context,
    stage,
    live,
    troubled,
    writer,
    reset: () => lag.reset(),
    maxLagMb: () => lag.maxLagMb,
  };

  const runs: IsolationRun[] = [];
  for (const as of ENDPOINTS) {
    runs.push(await measureAlone(scene));
    runs.push(await measureEndpoint(scene, as));
  }
  for (const condition of TROUBLED_CONDITIONS) {
    runs.push(await measureAlone(scene));
    runs.push(await measureCondition(scene, condition));
  }
  await writer.stop();
  const peakMb = bridge.peakResidentMb;
  await bridge.stop();
  return reportIsolation(runs, CONCURRENCY, peakMb);
}

interface Scene {
  readonly context: ScenarioContext;
  readonly stage: Stage;
  readonly live: Receiver;
  readonly troubled: Receiver;
  readonly writer: Writer;
  readonly reset: () => void;
  readonly maxLagMb: () => number;
}

async function measureAlone(scene: Scene): Promise<IsolationRun> {
  scene.context.note("the live webhook alone");
  return { beside: "alone", ...(await watchLive(scene)), drain: null };
}

async function measureEndpoint(scene: Scene, as: Behaviour): Promise<IsolationRun> {
  const { context, stage, troubled } = scene;
  context.note(`beside an endpoint: ${as}`);
  await troubled.behave(as);
  await troubled.reset();
  await stage.admin(webhook("troubled", troubled.url));
  await sleep(WARM_UP_MS);
  const watched = await watchLive(scene);
  // Nothing new for it from here on, so that its backlog has an end.
  await stopEvents(stage);
  const parked = await stage.number(
    "select count(*) from walhook.webhook_queue where webhook = 'troubled' and not is_dead",
  );
  await troubled.reset();
  await troubled.behave("steady");
  const seconds = await drainWhole(scene);
  const drained = { parked, seconds, tally: await troubled.tally() };
  await stage.admin("delete from walhook.webhook where name = 'troubled'");
  return { beside: `endpoint: ${as}`, ...watched, drain: drained };
}

async function measureCondition(scene: Scene, condition: TroubledCondition): Promise<IsolationRun> {
  const { context, stage, troubled } = scene;
  context.note(`beside a condition that ${condition.name}`);
  await troubled.behave("accept");
  await troubled.reset();
  await stage.admin(webhook("troubled", troubled.url, condition.expression));
  await sleep(WARM_UP_MS);
  const watched = await watchLive(scene);
  const parked = await stage.number(
    "select count(*) from walhook.webhook_queue where webhook = 'troubled' and not is_dead",
  );
  await stage.admin("delete from walhook.webhook where name = 'troubled'");
  await until("the end of the deleted webhook's deliveries", async () => (await leftOver(stage)) === 0);
  return {
    beside: `condition: ${condition.name}`,
    ...watched,
    drain: { parked, seconds: null, tally: await troubled.tally() },
  };
}

async function watchLive({ context, live, reset, maxLagMb }: Scene): Promise<Pick<IsolationRun, "live" | "maxLagMb">> {
  reset();
  await live.reset();
  await sleep(context.option("seconds") * 1000);
  return { live: await live.tally(), maxLagMb: maxLagMb() };
}

/** The webhook goes on with what it has, and takes nothing new. */
async function stopEvents(stage: Stage): Promise<void> {
  await stage.admin("update walhook.webhook set webhook_docevent = 'on_truncate' where name = 'troubled'");
}

/** Seconds until nothing of the troubled webhook is left; null where that takes too long. */
async function drainWhole({ context, stage }: Scene): Promise<number | null> {
  const startedAtMs = Date.now();
  const withinMs = context.option("drain-seconds") * 1000;
  const done = await until("the drain", async () => (await leftOver(stage)) === 0, { withinMs, everyMs: 500 }).catch(
    () => false,
  );
  return done ? (Date.now() - startedAtMs) / 1000 : null;
}

function leftOver(stage: Stage): Promise<number> {
  return stage.number("select count(*) from walhook.webhook_queue where webhook = 'troubled' and not is_dead");
}

/** Retries every 5 s, so that a drain shows the order and the pace rather than the schedule. */
function webhook(name: string, url: string, condition: string | null = null): string {
  return `insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url, condition, retry_schedule)
    values ('${name}', 'event', 'after_insert, on_update', '${url}/', ${condition === null ? "null" : `$c$${condition}$c$`},
      array_fill('5 s'::interval, array[100]))`;
}
