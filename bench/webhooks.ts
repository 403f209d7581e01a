import type { Bridge } from "./bridge.ts";
import { median } from "./percentile.ts";
import type { Report } from "./report.ts";
import type { Scenario, ScenarioContext } from "./scenario.ts";
import { Stage } from "./stage.ts";

const COUNTS = [1, 100, 1000] as const;

/** Many webhooks on one table, none of which an event concerns. */
export const webhooks: Scenario = {
  name: "webhooks",
  summary: "1, 100 and 1,000 webhooks on one table, each with a condition of its own that is false: cost of an event",
  options: {
    "webhooks-events": { help: "events of each measurement", full: 4000, quick: 200 },
    "webhooks-rounds": { help: "rounds, each of which measures all", full: 3, quick: 1 },
  },
  worksOnGivenServer: true,
  run: measure,
};

/** Seconds that the events took. */
interface Cost {
  readonly elapsed: number;
  readonly bridge: number;
  /** All the server's processes. */
  readonly server: number;
}

async function measure(context: ScenarioContext): Promise<Report> {
  const events = context.option("webhooks-events");
  await using stage = await Stage.open(context.cli);
  const receiver = await stage.receiver();
  await stage.app("create table event (id bigint primary key, n integer not null, note text)");
  await stage.admin(`do $$ begin
    for i in 1..${Math.max(...COUNTS)} loop
      insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url, condition, enabled)
      values ('w' || i, 'event', 'after_insert', '${receiver.url}/', 'doc.n = -' || i, false);
    end loop; end $$`);
  const rounds = COUNTS.map((): Cost[] => []);
  let from = 1;
  for (let round = 0; round < context.option("webhooks-rounds"); round++) {
    for (const [index, count] of COUNTS.entries()) {
      await stage.admin(
        `update walhook.webhook set enabled = (substr(name, 2)::integer <= ${count})
         where enabled is distinct from (substr(name, 2)::integer <= ${count})`,
      );
      const bridge = stage.bridge();
      await bridge.running();
      // The first events pay for connections, plans and compiled code.
      await costOf(stage, bridge, from, events / 10);
      const cost = await costOf(stage, bridge, from + events, events);
      from += 2 * events;
      await bridge.stop();
      rounds[index]?.push(cost);
      context.note(`round ${round + 1}, ${count} webhooks: ${((cost.elapsed / events) * 1e6).toFixed(1)} us an event`);
    }
  }
  return report(rounds, events, stage.version);
}

async function costOf(stage: Stage, bridge: Bridge, from: number, events: number): Promise<Cost> {
  const bridgeFrom = bridge.cpuSeconds ?? Number.NaN;
  const sql = `insert into event select ${from} + i, i, 'note' from generate_series(1, ${events}) i`;
  await stage.app(sql);
  const serverFrom = stage.serverCpuSeconds;
  const startedAt = performance.now();
  await stage.caughtUp();
  return {
    elapsed: (performance.now() - startedAt) / 1000,
    bridge: (bridge.cpuSeconds ?? Number.NaN) - bridgeFrom,
    server: stage.serverCpuSeconds - serverFrom,
  };
}

function report(rounds: readonly (readonly Cost[])[], events: number, version: string): Report {
  const perEvent = rounds.map((costs) => {
    const of = (pick: (cost: Cost) => number): number => (median(costs.map(pick)) / events) * 1e6;
    return { elapsed: of((c) => c.elapsed), bridge: of((c) => c.bridge), server: of((c) => c.server) };
  });
  const [one] = perEvent;
  const further = (index: number, what: keyof Cost): number =>
    ((perEvent[index]?.[what] ?? 0) - (one?.[what] ?? 0)) / ((COUNTS[index] ?? 0) - 1);
  return {
    tables: [
      {
        title: `us an event, PostgreSQL ${version}, medians of ${rounds[0]?.length ?? 0} rounds of ${events} events in one transaction`,
        columns: [
          "webhooks",
          "until read",
          "bridge CPU",
          "server CPU",
          "until read, each further webhook",
          "bridge CPU, each further",
          "server CPU, each further",
        ],
        rows: COUNTS.map((count, index) => [
          count,
          perEvent[index]?.elapsed ?? null,
          perEvent[index]?.bridge ?? null,
          perEvent[index]?.server ?? null,
          ...(["elapsed", "bridge", "server"] as const).map((what) => (count === 1 ? null : further(index, what))),
        ]),
      },
    ],
    goals: COUNTS.flatMap((count, index) =>
      count === 1
        ? []
        : [
            {
              what: `${count} webhooks, each further one whose condition is false`,
              goal: "<= 0.5 us an event",
              measured: `${further(index, "elapsed").toFixed(2)} us`,
              isMet: further(index, "elapsed") <= 0.5,
            },
          ],
    ),
  };
}
