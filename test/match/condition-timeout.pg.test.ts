import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connectionConfig } from "../../src/db/connection.ts";
import { Conditions } from "../../src/match/conditions.ts";
import { eventually } from "../support/eventually.ts";
import { question, startConditionWorld, type Compiled, type ConditionWorld } from "./condition-world.ts";

const TIMEOUT_MS = 2_000;

let world: ConditionWorld;
let healthy: Compiled;
let conditions: Conditions;

beforeAll(async () => {
  world = await startConditionWorld("timeout");
  await world.app("create table orders (id integer primary key, status text)");
  await world.admin(`create function public.stubborn() returns boolean language plpgsql as $$
    begin
      loop
        begin
          perform pg_sleep(60);
        exception when query_canceled then null;
        end;
      end loop;
    end $$`);
  healthy = await world.compile("doc.id = 1");
  conditions = new Conditions({ connection: connectionConfig(world.bridgeUrl, "conditions"), timeoutMs: TIMEOUT_MS });
});
afterAll(async () => {
  await conditions.close();
  await world.drop();
});

const row = { doc: { id: "1" } };

/** How long other webhooks wait, with room for a busy machine but none for a second timeout. */
async function withinOneTimeout<T>(ask: Promise<T>): Promise<T> {
  const started = performance.now();
  const answer = await ask;
  expect(performance.now() - started).toBeLessThan(TIMEOUT_MS * 1.8);
  return answer;
}

async function activeQuestions(): Promise<number> {
  const { rows } = await world.db.query(
    "select count(*)::int as n from pg_stat_activity where usename = $1 and state = 'active'",
    [world.roles.bridge],
  );
  return (rows[0] as { n: number }).n;
}

describe("a slow condition", () => {
  it.each([
    ["that sleeps", "pg_sleep(60) is not null"],
    ["that catches its own cancellation", "stubborn()"],
  ])("%s delays no other by more than one timeout, and after three times not at all", async (_, condition) => {
    const slow = await world.compile(condition);
    const others = [healthy, await world.compile("doc.id = 2"), await world.compile("1 / doc.id = 0")];
    const all = [slow, ...others].map((compiled) => question(compiled, row));
    const expected = [[{ kind: "timeout" }], [{ kind: "true" }], [{ kind: "false" }], [{ kind: "false" }]];
    for (let times = 1; times <= 3; times++) {
      expect(conditions.isSuspended(slow.functionName)).toBe(false);
      expect(await withinOneTimeout(conditions.ask(all))).toEqual(expected);
    }
    expect(conditions.isSuspended(slow.functionName)).toBe(true);
    const started = performance.now();
    expect(await conditions.ask(all)).toEqual(expected);
    expect(performance.now() - started).toBeLessThan(TIMEOUT_MS / 2);
    // Nothing of it goes on behind our back.
    await eventually(async () => (await activeQuestions()) === 0);
  });

  it("many of them delay the others by one timeout together", async () => {
    const slow: Compiled[] = [];
    for (let n = 0; n < 12; n++) slow.push(await world.compile(`pg_sleep(60) is null or doc.id = ${n}`));
    const answers = await withinOneTimeout(
      conditions.ask([...slow, healthy].map((compiled) => question(compiled, row))),
    );
    expect(answers.at(-1)).toEqual([{ kind: "true" }]);
    expect(answers.slice(0, -1).every(([verdict]) => verdict?.kind === "timeout")).toBe(true);
  });

  it("asked alone, in time, ends its suspension; so does a changed condition", async () => {
    await world.app("create table brakes (on_ boolean); insert into brakes values (true)");
    const slow = await world.compile("case when (select on_ from brakes) then pg_sleep(60) is not null else true end");
    for (let times = 1; times <= 3; times++) await conditions.ask([question(slow, row)]);
    expect(await conditions.ask([question(slow, row)])).toEqual([[{ kind: "timeout" }]]);
    expect(await conditions.askParked(question(slow, row))).toEqual({ kind: "timeout" });
    await world.app("update brakes set on_ = false");
    expect(await conditions.ask([question(slow, row)])).toEqual([[{ kind: "timeout" }]]);
    expect(await conditions.askParked(question(slow, row))).toEqual({ kind: "true" });
    expect(await conditions.ask([question(slow, row)])).toEqual([[{ kind: "true" }]]);
  });

  it("asked alone holds no live question", async () => {
    const slow = await world.compile("pg_sleep(60) is not null");
    const parked = conditions.askParked(question(slow, row));
    await eventually(async () => (await activeQuestions()) > 0);
    let isParked = true;
    void parked.then(() => (isParked = false));
    expect(await conditions.ask([question(healthy, row)])).toEqual([[{ kind: "true" }]]);
    expect(isParked).toBe(true);
    expect(await parked).toEqual({ kind: "timeout" });
  });
});
