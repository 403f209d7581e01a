import pg from "pg";
import { dayPartition, LogMaintenance } from "./log-maintenance.ts";
import type { Receiver } from "./receiver.ts";
import { reportRetention, type RetentionRun } from "./retention-report.ts";
import type { Report } from "./report.ts";
import type { Scenario, ScenarioContext } from "./scenario.ts";
import { Stage } from "./stage.ts";
import { sleep, until } from "./wait.ts";

const WARM_UP_MS = 3000;
/** After partitions were made for the stretch, which nobody measures. */
const SETTLE_MS = 1500;
const SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/** Beyond what any bridge keeps by default, so that its own first round finds something to drop. */
const LONG_AGO_DAYS = 40;

interface Stretch {
  readonly what: string;
  /** What an analyst has read in a transaction that stays open; null: nobody is there. */
  readonly reads: "whole log" | "today" | null;
  readonly isMaintained: boolean;
}

/** The first one is what the others are compared with. */
const STRETCHES: readonly Stretch[] = [
  { what: "nothing", reads: null, isMaintained: false },
  { what: "maintenance", reads: null, isMaintained: true },
  { what: "open transaction, whole log read", reads: "whole log", isMaintained: false },
  { what: "maintenance, open transaction, whole log read", reads: "whole log", isMaintained: true },
  { what: "maintenance, open transaction, today read", reads: "today", isMaintained: true },
];

/** Deliveries at a steady rate while the log's partitions are made, dropped and emptied, and somebody reads it. */
export const retention: Scenario = {
  name: "retention",
  summary:
    "commit to receipt while the log's partitions are made, dropped by age and by size, and their bodies taken out, with and without an analyst who leaves a transaction open",
  options: {
    rate: { help: "events a second, a transaction each", full: 1000, quick: 300 },
    "retention-seconds": { help: "length of each measurement", full: 5, quick: 3 },
    "retention-rounds": { help: "rounds, each of which measures all", full: 3, quick: 1 },
    "retention-rows": { help: "rows of each old partition, 1 kB of body each", full: 5000, quick: 500 },
  },
  isOnlyByName: true,
  run: measure,
};

async function measure(context: ScenarioContext): Promise<Report> {
  const seconds = context.option("retention-seconds");
  await using stage = await Stage.open(context.cli);
  const receiver = await stage.receiver();
  await stage.app("create table event (id bigint primary key, status text, total numeric, note text)");
  await stage.admin(`insert into walhook.webhook
      (name, webhook_doctype, webhook_docevent, request_url, condition, enable_security, webhook_secret)
    values ('w', 'event', 'after_insert', '${receiver.url}/', 'doc.total > 0', true, '${SECRET}')`);
  await stage.look(dayPartition(LONG_AGO_DAYS, 1));

  // What the bridge itself says at its start, when somebody reads what it would drop, and what it says once they have left.
  const reader = await readLog(stage, "whole log");
  const bridge = stage.bridge();
  await bridge.running();
  const said = async (): Promise<string> => {
    const [row] = await stage.look("select maintenance from walhook.bridge");
    return typeof row?.["maintenance"] === "string" ? row["maintenance"] : "";
  };
  await until("the bridge's maintenance", async () => (await said()) !== "");
  const whileRead = await said();
  await reader.end();

  const writer = await stage.writer({
    rate: context.option("rate"),
    from: 1,
    statements: ["insert into event values ($1, 'Paid', 99.90, repeat('note ', 20))"],
  });
  await sleep(WARM_UP_MS);
  const scene: Scene = { context, stage, receiver, rows: context.option("retention-rows"), seconds };
  const stretches = STRETCHES.map((stretch): { readonly stretch: Stretch; readonly runs: RetentionRun[] } => ({
    stretch,
    runs: [],
  }));
  for (let round = 0; round < context.option("retention-rounds"); round++) {
    for (const { stretch, runs } of stretches) runs.push(await watch(scene, stretch));
  }
  await writer.stop();
  await bridge.stop();
  const again = stage.bridge();
  await again.running();
  await until(
    "the next bridge's maintenance",
    async () => (await said()) !== whileRead && !/next round/.test(await said()),
  );
  const afterwards = await said();
  await again.stop();
  return reportRetention(
    stretches.map(({ stretch, runs }) => ({ what: stretch.what, runs })),
    { whileRead, afterwards },
    stage.version,
  );
}

interface Scene {
  readonly context: ScenarioContext;
  readonly stage: Stage;
  readonly receiver: Receiver;
  readonly rows: number;
  readonly seconds: number;
}

async function watch(
  { context, stage, receiver, rows, seconds }: Scene,
  { what, reads, isMaintained }: Stretch,
): Promise<RetentionRun> {
  const maintenance = isMaintained ? await LogMaintenance.prepare(stage, { seconds, rows }) : null;
  const analyst = reads === null ? null : await readLog(stage, reads);
  await sleep(SETTLE_MS);
  await receiver.reset();
  const done = maintenance === null ? null : await maintenance.run(seconds);
  if (maintenance === null) await sleep(seconds * 1000);
  const tally = await receiver.tally();
  await analyst?.end();
  await maintenance?.close();
  const { p50 = Number.NaN, p99 = Number.NaN } = tally.latencyMs ?? {};
  context.note(`${what}: p50 ${p50.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms`);
  return { tally, maintenance: done };
}

/** Opens a transaction, reads, and does nothing more until it is ended. */
async function readLog(stage: Stage, reads: "whole log" | "today"): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: stage.server.url("bench"), application_name: "analyst" });
  client.on("error", () => {});
  await client.connect();
  const today = new Date().toISOString().slice(0, 10);
  // A constant prunes while it is planned: the other partitions are not locked at all.
  const where = reads === "today" ? `where sent_at >= '${today} 00:00Z' and sent_at < '${today} 24:00Z'` : "";
  await client.query(`begin; select count(*) from walhook.webhook_request_log ${where}`);
  return client;
}
