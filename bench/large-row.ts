import type { Cell, Goal, Report } from "./report.ts";
import type { Scenario, ScenarioContext } from "./scenario.ts";
import { Stage } from "./stage.ts";
import { until } from "./wait.ts";

interface Case {
  readonly name: string;
  /** Values of the columns a, b and j; `$mb` is the scenario's size in MB. */
  readonly values: string;
}

const MB = "1000 * 1000";
const CASES: readonly Case[] = [
  { name: "one value of 100 %", values: `repeat('a', $mb * ${MB}), null, null` },
  { name: "two values of 50 %", values: `repeat('a', $mb / 2 * ${MB}), repeat('b', $mb / 2 * ${MB}), null` },
  { name: "jsonb of 25 %", values: `null, null, jsonb_build_array(repeat('j', $mb / 4 * ${MB}))` },
  // Each of its characters is two in JSON and more in COPY's text.
  { name: "quotes of 25 %", values: `repeat('"\\', $mb / 8 * ${MB}), null, null` },
  { name: "eight rows of 5 %", values: `repeat('e', $mb / 20 * ${MB}), null, null from generate_series(1, 8)` },
  {
    name: "a thousand rows of 0.25 %",
    values: `repeat('t', $mb * 10 / 4 * 1000), null, null from generate_series(1, 1000)`,
  },
];

/** Rows larger than any receiver takes. */
export const largeRow: Scenario = {
  name: "large-row",
  summary: "rows too large to be sent: recorded as such, while the stream goes on",
  options: { mb: { help: "MB of the largest row", full: 200, quick: 40 } },
  isOnlyByName: true,
  run: measure,
};

async function measure(context: ScenarioContext): Promise<Report> {
  const rows: Cell[][] = [];
  const goals: Goal[] = [];
  for (const [endpoint, behaviour] of [
    ["answers", "accept"],
    ["refuses", "refuse"],
    ["hangs", "hang"],
  ] as const) {
    await using stage = await Stage.open(context.cli);
    const receiver = await stage.receiver();
    await receiver.behave(behaviour);
    const live = await stage.receiver();
    await stage.app(`create table document (id bigint generated always as identity primary key, a text, b text, j jsonb);
      alter table document alter a set storage external, alter b set storage external;
      create table event (id bigint generated always as identity primary key, n integer not null)`);
    await stage.admin(`insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url)
      values ('document', 'document', 'after_insert', '${receiver.url}/'), ('live', 'event', 'after_insert', '${live.url}/')`);
    const bridge = stage.bridge();
    await bridge.running();
    for (const { name, values } of CASES) {
      context.note(`endpoint ${endpoint}: ${name}`);
      bridge.forgetMemory();
      await live.reset();
      await stage.app(
        `insert into document (a, b, j) select ${values.replaceAll("$mb", String(context.option("mb")))}`,
      );
      await stage.app("insert into event (n) values (0)");
      const committedAtMs = Date.now();
      const firstAtMs = await until("the next row's delivery", async () => (await live.tally()).firstAtMs, {
        withinMs: 120_000,
      }).catch(() => null);
      const what = await until("a word of the large row", () => whatBecame(stage), { withinMs: 30_000 }).catch(
        () => "nothing",
      );
      rows.push([
        endpoint,
        name,
        what,
        firstAtMs === null ? null : (firstAtMs - committedAtMs) / 1000,
        bridge.maxResidentMb,
      ]);
      goals.push({
        what: `endpoint ${endpoint}, ${name}: recorded, and the stream goes on`,
        goal: "yes",
        measured: `${what}; ${firstAtMs === null ? "the stream stands" : "the next row came"}`,
        isMet: firstAtMs !== null && what !== "nothing",
      });
      await stage.look("truncate walhook.webhook_request_log, walhook.webhook_queue");
    }
  }
  return {
    tables: [
      {
        title: "rows too large to be sent",
        columns: ["endpoint", "row", "what is recorded", "next row after (s)", "RSS max (MB)"],
        rows,
      },
    ],
    goals,
  };
}

/** What log and queue say of the large rows; null while they say nothing. */
async function whatBecame(stage: Stage): Promise<string | null> {
  const [found] = await stage.look(
    `select string_agg(count || ' ' || what || coalesce(' (' || error || ')', ''), ', ' order by what) as what from (
       select outcome || coalesce(' ' || error_class, '') as what, count(*) as count, max(left(error, 120)) as error
         from walhook.webhook_request_log where webhook = 'document' group by 1
       union all
       select 'queued ' || kind, count(*), max(left(last_error, 60)) from walhook.webhook_queue where webhook = 'document' group by 1
     ) as words`,
  );
  const what = found?.["what"];
  return typeof what === "string" ? what : null;
}
