import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { promisify } from "node:util";
import { copyOfSlot, decodeAlone } from "./decoder.ts";
import { median } from "./percentile.ts";
import type { Report } from "./report.ts";
import type { Scenario, ScenarioContext } from "./scenario.ts";
import { Stage } from "./stage.ts";
import { until } from "./wait.ts";

/** A bridge that comes back to much WAL, before the first event that concerns it. */
export const restart: Scenario = {
  name: "restart",
  summary: "WAL to read, of a table that nobody watches, and then one event: seconds from the start to its delivery",
  options: {
    "restart-mb": { help: "MB of WAL", full: 1024, quick: 32 },
    "restart-rounds": { help: "rounds, each of which measures all", full: 3, quick: 1 },
  },
  worksOnGivenServer: true,
  run: measure,
};

interface Round {
  readonly bridge: number;
  readonly alone: number;
  readonly walMb: number;
}

async function measure(context: ScenarioContext): Promise<Report> {
  await using stage = await Stage.open(context.cli, ["max_wal_size=4GB"]);
  const receiver = await stage.receiver();
  await stage.app(`create table event (id bigint primary key, n integer not null);
    create table other (id bigint generated always as identity, note text)`);
  await stage.admin(`insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url)
    values ('w', 'event', 'after_insert', '${receiver.url}/')`);
  const hasTool = await isInstalled("pg_recvlogical");
  const rounds: Round[] = [];
  for (let round = 0; round < context.option("restart-rounds"); round++) {
    const from = await walBytes(stage);
    // Rows of about 1 kB, 1,000 a transaction.
    while ((await walBytes(stage)) - from < context.option("restart-mb") * 1024 ** 2) {
      await stage.app("insert into other (note) select repeat('other ', 170) from generate_series(1, 1000)");
    }
    await stage.app(`insert into event values (${round}, 0)`);
    const walMb = ((await walBytes(stage)) - from) / 1024 ** 2;
    const alone = hasTool ? await receiveAlone(stage) : await decodedAlone(stage, context.cli);
    await receiver.reset();
    const bridge = stage.bridge();
    const firstAtMs = await until("the event", async () => (await receiver.tally()).firstAtMs, { withinMs: 600_000 });
    await stage.caughtUp();
    await bridge.stop();
    rounds.push({ bridge: (firstAtMs - bridge.startedAtMs) / 1000, alone, walMb });
    context.note(
      `round ${round + 1}: ${walMb.toFixed(0)} MB, ${rounds.at(-1)?.bridge.toFixed(1)} s, alone ${alone.toFixed(1)} s`,
    );
  }
  const of = (pick: (round: Round) => number): number => median(rounds.map(pick));
  const ratio = of(({ bridge, alone }) => bridge / alone);
  const other = hasTool ? "pg_recvlogical" : "decoder alone";
  return {
    tables: [
      {
        title: `restart, PostgreSQL ${stage.version}, medians of ${rounds.length} rounds`,
        columns: ["WAL to read (MB)", "start to first new delivery (s)", `${other}, start to the event (s)`, "ratio"],
        rows: [[of(({ walMb }) => walMb), of(({ bridge }) => bridge), of(({ alone }) => alone), ratio]],
      },
    ],
    goals: [
      {
        what: `first new delivery, against ${other}`,
        goal: "<= 1.3 x",
        measured: `${ratio.toFixed(2)} x`,
        isMet: ratio <= 1.3,
      },
    ],
  };
}

/** The same publications through PostgreSQL's own client, until it has passed all that is there now. */
async function receiveAlone(stage: Stage): Promise<number> {
  const slotName = await copyOfSlot(stage);
  const [row] = await stage.look("select pg_current_wal_lsn()::text as lsn");
  const startedAt = performance.now();
  const child = spawn(
    "pg_recvlogical",
    [
      `--dbname=${stage.server.url("bench", "bench_bridge")}`,
      `--slot=${slotName}`,
      "--start",
      "--no-loop",
      "--option=proto_version=1",
      "--option=publication_names=walhook_insert,walhook_all",
      "--file=/dev/null",
      `--endpos=${String(row?.["lsn"])}`,
    ],
    { stdio: ["ignore", "ignore", "inherit"] },
  );
  const [code] = await once(child, "exit");
  const seconds = (performance.now() - startedAt) / 1000;
  if (code !== 0) throw new Error(`pg_recvlogical ended with exit code ${code}`);
  await until("the slot to be free", () => isFree(stage, slotName));
  await stage.look("select pg_drop_replication_slot($1)", [slotName]);
  return seconds;
}

async function decodedAlone(stage: Stage, cli: string): Promise<number> {
  const startedAtMs = Date.now();
  const { lastAtMs } = await decodeAlone(stage, cli);
  return (lastAtMs - startedAtMs) / 1000;
}

async function isFree(stage: Stage, slotName: string): Promise<boolean> {
  const [slot] = await stage.look("select not active as free from pg_replication_slots where slot_name = $1", [
    slotName,
  ]);
  return slot?.["free"] === true;
}

function walBytes(stage: Stage): Promise<number> {
  return stage.number("select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')");
}

/** Whether a program of PostgreSQL is in the path. */
export async function isInstalled(program: string): Promise<boolean> {
  return promisify(execFile)(program, ["--version"]).then(
    () => true,
    () => false,
  );
}
