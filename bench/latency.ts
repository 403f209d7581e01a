import { copyOfSlot, Decoder } from "./decoder.ts";
import { median } from "./percentile.ts";
import type { Receiver } from "./receiver.ts";
import type { Cell, Goal, Report } from "./report.ts";
import type { Scenario, ScenarioContext } from "./scenario.ts";
import { Stage } from "./stage.ts";
import { sleep, until } from "./wait.ts";

const RATES = [50, 1000] as const;
const WARM_UP_MS = 1000;
const SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/** From the commit to the receipt, at steady rates, against a loop that decodes and posts. */
export const latency: Scenario = {
  name: "latency",
  summary:
    "commit to receipt at 50 and 1,000 events/s, condition true, signed, logged; beside it a loop that decodes and posts",
  options: {
    "latency-seconds": { help: "length of each measurement", full: 8, quick: 1 },
    "latency-rounds": { help: "rounds, each of which measures all", full: 3, quick: 1 },
  },
  worksOnGivenServer: true,
  run: measure,
};

interface Latency {
  readonly p50: number;
  readonly p99: number;
}

interface Round {
  readonly bridge: Latency;
  readonly loop: Latency;
}

async function measure(context: ScenarioContext): Promise<Report> {
  const seconds = context.option("latency-seconds");
  await using stage = await Stage.open(context.cli);
  const receiver = await stage.receiver();
  await stage.app(
    "create table event (id bigint primary key, n integer not null, status text, total numeric, note text)",
  );
  await stage.admin(`insert into walhook.webhook
      (name, webhook_doctype, webhook_docevent, request_url, condition, enable_security, webhook_secret)
    values ('w', 'event', 'after_insert', '${receiver.url}/', 'doc.total > 0', true, '${SECRET}')`);
  const events = new Events(stage, receiver, seconds);
  const rounds = RATES.map((): Round[] => []);
  for (let round = 0; round < context.option("latency-rounds"); round++) {
    for (const [index, rate] of RATES.entries()) {
      const loop = await withLoop(context, stage, receiver, () => events.measure(rate));
      const bridge = await withBridge(stage, () => events.measure(rate));
      rounds[index]?.push({ bridge, loop });
      context.note(
        `round ${round + 1}, ${rate}/s: p50 ${bridge.p50.toFixed(1)} ms, p99 ${bridge.p99.toFixed(1)} ms; the loop ${loop.p50.toFixed(1)} and ${loop.p99.toFixed(1)} ms`,
      );
    }
  }
  return report(rounds, stage.version);
}

async function withBridge<T>(stage: Stage, use: () => Promise<T>): Promise<T> {
  const bridge = stage.bridge();
  await bridge.running();
  await stage.caughtUp();
  const result = await use();
  await bridge.stop();
  return result;
}

/** The loop has a slot of its own; what it posts the bridge passes over later, at its next start. */
async function withLoop<T>(
  { cli }: ScenarioContext,
  stage: Stage,
  receiver: Receiver,
  use: () => Promise<T>,
): Promise<T> {
  const slotName = await copyOfSlot(stage);
  const url = stage.server.url("bench", "bench_bridge");
  const loop = await Decoder.start({ cli, url, slotName, untilLsn: null, postTo: `${receiver.url}/` });
  const result = await use();
  await loop.stop();
  await stage.look("select pg_drop_replication_slot($1)", [slotName]);
  return result;
}

/** Writes at a rate, each row a transaction, and asks the receiver what it saw. */
class Events {
  readonly #stage: Stage;
  readonly #receiver: Receiver;
  readonly #seconds: number;
  #from = 1;

  constructor(stage: Stage, receiver: Receiver, seconds: number) {
    this.#stage = stage;
    this.#receiver = receiver;
    this.#seconds = seconds;
  }

  async measure(rate: number): Promise<Latency> {
    const { distinct } = await this.#receiver.tally();
    const writer = await this.#stage.writer({
      rate,
      statements: ["insert into event values ($1, 0, 'Paid', 99.90, repeat('note ', 20))"],
      from: this.#from,
    });
    await sleep(WARM_UP_MS);
    await this.#receiver.reset();
    await sleep(this.#seconds * 1000);
    const { next } = await writer.stop();
    const expected = distinct + next - this.#from;
    this.#from = next;
    // The last ones are on their way.
    await until("the last event", async () => (await this.#receiver.tally()).distinct >= expected);
    const { latencyMs } = await this.#receiver.tally();
    if (latencyMs === null) throw new Error("no event came");
    return latencyMs;
  }
}

function report(rounds: readonly (readonly Round[])[], version: string): Report {
  const rows: Cell[][] = [];
  const goals: Goal[] = [];
  for (const [index, rate] of RATES.entries()) {
    const of = (pick: (round: Round) => number): number => median((rounds[index] ?? []).map(pick));
    const bridge = { p50: of((r) => r.bridge.p50), p99: of((r) => r.bridge.p99) };
    const loop = { p50: of((r) => r.loop.p50), p99: of((r) => r.loop.p99) };
    rows.push([`${rate}/s`, bridge.p50, bridge.p99, loop.p50, loop.p99, bridge.p50 / loop.p50, bridge.p99 / loop.p99]);
    for (const [name, mostMs] of [
      ["p50", 3],
      ["p99", 15],
    ] as const) {
      const ratio = bridge[name] / loop[name];
      goals.push({
        what: `${rate} events/s, ${name}`,
        goal: `<= ${mostMs} ms, <= 1.5 x the loop`,
        measured: `${bridge[name].toFixed(2)} ms, ${ratio.toFixed(2)} x`,
        isMet: bridge[name] <= mostMs && ratio <= 1.5,
      });
    }
  }
  return {
    tables: [
      {
        title: `commit to receipt, PostgreSQL ${version}, medians of ${rounds[0]?.length ?? 0} rounds; the commit's time stamp is taken before it is flushed`,
        columns: ["events", "p50 (ms)", "p99 (ms)", "loop p50 (ms)", "loop p99 (ms)", "p50 ratio", "p99 ratio"],
        rows,
      },
    ],
    goals,
  };
}
