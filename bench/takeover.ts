import type { Bridge } from "./bridge.ts";
import type { Cell, Report } from "./report.ts";
import type { Scenario, ScenarioContext } from "./scenario.ts";
import { Stage } from "./stage.ts";
import { sleep, until } from "./wait.ts";

/** Two bridges on one database: one is killed or frozen, the other goes on. */
export const takeover: Scenario = {
  name: "takeover",
  summary:
    "a second bridge takes over from one that is stopped, killed or frozen; the frozen one wakes up and is fenced",
  options: {
    rounds: { help: "rounds of each kind", full: 3, quick: 1 },
    "timeout-seconds": { help: "wal_sender_timeout of the server", full: 10, quick: 4 },
  },
  isOnlyByName: true,
  run: measure,
};

const RATE = 100;
type Kind = "stop" | "kill" | "freeze";

async function measure(context: ScenarioContext): Promise<Report> {
  const timeoutSeconds = context.option("timeout-seconds");
  await using stage = await Stage.open(context.cli, [`wal_sender_timeout=${timeoutSeconds}s`]);
  const receiver = await stage.receiver();
  await stage.app("create table event (id bigint primary key, n integer not null)");
  await stage.admin(`insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url)
    values ('event', 'event', 'after_insert', '${receiver.url}/')`);
  const writer = await stage.writer({ rate: RATE, from: 1, statements: ["insert into event values ($1::bigint, 0)"] });
  let active = stage.bridge();
  await active.running();
  const rows: Cell[][] = [];
  for (const kind of ["stop", "kill", "freeze"] satisfies Kind[]) {
    for (let round = 1; round <= context.option("rounds"); round++) {
      context.note(`${kind}, round ${round}`);
      const standby = stage.bridge();
      await sleep(2000);
      const { seconds, fenced } = await replace(kind, active, receiver);
      rows.push([kind, seconds, fenced]);
      active = standby;
    }
  }
  const { committed } = await writer.stop();
  await until("all deliveries", async () => (await receiver.tally()).distinct >= committed);
  const logged = await until("all log rows", async () => {
    const count = await stage.number("select count(*) from walhook.webhook_request_log where outcome = 'delivered'");
    return count >= committed ? count : null;
  });
  const twice = await stage.number(
    `select count(*) from (select from walhook.webhook_request_log where outcome = 'delivered' group by delivery_id having count(*) > 1) d`,
  );
  const { repeated } = await receiver.tally();
  await active.stop();
  const worst = (kind: Kind): number => Math.max(...rows.filter((row) => row[0] === kind).map((row) => Number(row[1])));
  return {
    tables: [
      {
        title: `${RATE} events a second, wal_sender_timeout ${timeoutSeconds} s; received twice in all: ${repeated} of ${committed}`,
        columns: ["the first bridge", "to the next delivery (s)", "when it wakes up"],
        rows,
      },
    ],
    goals: [
      {
        what: "after a kill",
        goal: "within seconds",
        measured: `${worst("kill").toFixed(2)} s at worst`,
        isMet: worst("kill") < 5,
      },
      {
        what: "after a freeze",
        goal: `within wal_sender_timeout (${timeoutSeconds} s) and a second`,
        measured: `${worst("freeze").toFixed(2)} s at worst`,
        isMet: worst("freeze") <= timeoutSeconds + 1,
      },
      {
        what: "no split brain in the log",
        goal: `${committed} delivered, none twice`,
        measured: `${logged}, ${twice} twice`,
        isMet: logged === committed && twice === 0,
      },
    ],
  };
}

interface Replaced {
  /** From the first one's last moment to the next delivery. */
  readonly seconds: number;
  /** What the frozen one does when it wakes up. */
  readonly fenced: string | null;
}

async function replace(
  kind: Kind,
  active: Bridge,
  receiver: Awaited<ReturnType<Stage["receiver"]>>,
): Promise<Replaced> {
  if (kind === "stop") await active.stop();
  else if (kind === "kill") await active.kill();
  else active.signal("SIGSTOP");
  const goneAtMs = Date.now();
  // What it had sent is still on its way.
  await sleep(100);
  await receiver.reset();
  const nextAtMs = await until("the next delivery", async () => (await receiver.tally()).firstAtMs, {
    withinMs: 120_000,
    everyMs: 20,
  });
  const seconds = (nextAtMs - goneAtMs) / 1000;
  if (kind !== "freeze") return { seconds, fenced: null };
  active.signal("SIGCONT");
  const code = await Promise.race([active.ended.then(String), sleep(8000).then(() => null)]);
  if (code !== null) return { seconds, fenced: `ends with exit code ${code}` };
  // It may wait for the slot as the new standby.
  await active.stop();
  return { seconds, fenced: "waits for the slot" };
}
