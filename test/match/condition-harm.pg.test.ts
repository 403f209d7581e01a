import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connectionConfig } from "../../src/db/connection.ts";
import { ConditionSession } from "../../src/match/condition-session.ts";
import { Conditions } from "../../src/match/conditions.ts";
import { question, startConditionWorld, type Compiled, type ConditionWorld } from "./condition-world.ts";

let world: ConditionWorld;
let conditions: Conditions;
let healthy: Compiled;

beforeAll(async () => {
  world = await startConditionWorld("harm");
  await world.app("create table orders (id integer primary key, status text)");
  // As everywhere in these tests a condition's author is no superuser; this one may end connections.
  await world.db.query(`grant pg_signal_backend to "${world.roles.admin}"`);
  await world.admin(`create function public.raises(code text) returns boolean language plpgsql as $$
    begin raise exception 'of its own' using errcode = code; end $$`);
  healthy = await world.compile("doc.id > 0");
  conditions = new Conditions({ connection: connectionConfig(world.bridgeUrl, "conditions"), timeoutMs: 2_000 });
});
afterAll(async () => {
  await conditions.close();
  await world.drop();
});

const rows = ["1", "2", "3"].map((id) => ({ doc: { id } }));
const TRUE = { kind: "true" };

describe("an error that a condition raises is the condition's, whatever its code says of the server", () => {
  it.each(["57P01", "57P02", "57P03", "08000", "08006", "25006", "28000", "25P03"])("%s", async (code) => {
    const raising = await world.compile(`case when doc.id = 2 then raises('${code}') else true end`);
    const answers = await conditions.ask([question(raising, ...rows), question(healthy, ...rows)]);
    const error = { kind: "error", message: expect.stringContaining(`of its own (${code})`) };
    expect(answers).toEqual([
      [TRUE, error, TRUE],
      [TRUE, TRUE, TRUE],
    ]);
    expect(await conditions.askParked(question(raising, rows[1]!))).toEqual(error);
  });

  it("57014 is a timeout, as any cancellation", async () => {
    const raising = await world.compile("raises('57014')");
    expect(await conditions.ask([question(raising, rows[0]!), question(healthy, rows[0]!)])).toEqual([
      [{ kind: "timeout" }],
      [TRUE],
    ]);
  });

  it("and no longer than a log row takes", async () => {
    await world.admin(`create function public.rants() returns boolean language plpgsql as $$
      begin raise exception '%', repeat('x', 1000000); end $$`);
    const [[verdict] = []] = await conditions.ask([question(await world.compile("rants()"), rows[0]!)]);
    expect(verdict).toMatchObject({ kind: "error" });
    expect((verdict as { message: string }).message.length).toBeLessThan(2200);
  });
});

describe("a condition that ends its connection", () => {
  it.each([
    ["by terminating it", "pg_terminate_backend(pg_backend_pid()) and pg_sleep(1) is not null", 140_000],
    [
      "by a timeout of its own",
      "set_config('transaction_timeout', '5', true) is not null and pg_sleep(1) is not null",
      170_000,
    ],
  ])("%s costs no other webhook anything, and is left to the queue after three times", async (_, condition, since) => {
    const { rows: found } = await world.db.query("select current_setting('server_version_num')::int as version");
    if ((found[0] as { version: number }).version < since) return;
    const ending = await world.compile(condition);
    for (let times = 1; times <= 3; times++) {
      const answers = await conditions.ask([question(ending, ...rows), question(healthy, ...rows)]);
      const undecided = { kind: "undecided", message: expect.stringMatching(/ends the connection.*terminat/) };
      expect(answers).toEqual([
        [undecided, undecided, undecided],
        [TRUE, TRUE, TRUE],
      ]);
    }
    expect(conditions.isSuspended(ending.functionName)).toBe(true);
    expect(await conditions.askParked(question(ending, rows[0]!))).toMatchObject({ kind: "undecided" });
    expect(await conditions.ask([question(healthy, ...rows)])).toEqual([[TRUE, TRUE, TRUE]]);
  });

  it("may be one that raises notices beyond what is read of an answer", async () => {
    await world.admin(`create function public.shouts() returns boolean language plpgsql as $$
      begin raise notice '%', repeat('x', 70000000); return true; end $$`);
    const shouting = question(await world.compile("shouts()"), rows[0]!);
    const session = await ConditionSession.open(connectionConfig(world.bridgeUrl, "conditions"));
    expect(await session.ask("ask", [shouting], 60_000)).toMatchObject({ kind: "lost" });
    expect(session.isUsable).toBe(false);
  });
});

describe("a function whose description was changed by its author", () => {
  it.each([
    "99999999999999999: id integer",
    "9999999999: id integer",
    "4294967296: id integer",
    "0: id integer",
    "x",
    "",
  ])("to %j harms nobody", async (comment) => {
    const failing = await world.compile("1 / (doc.id - 2) <> 0");
    await world.admin(
      `comment on function walhook_condition.${failing.functionName}(text[], text[], text[]) is '${comment}'`,
    );
    const answers = await conditions.ask([question(failing, ...rows), question(healthy, ...rows)]);
    expect(answers[0]!.map(({ kind }) => kind)).toEqual(["true", "undecided", "true"]);
    expect(answers[1]).toEqual([TRUE, TRUE, TRUE]);
    // And its author can mend it: saving the webhook again makes it anew.
    await world.admin("update walhook.webhook set revision = revision + 1 where id = $1", [failing.id]);
    const { rows: saved } = await world.admin("select condition_function as name from walhook.webhook where id = $1", [
      failing.id,
    ]);
    const mended = { ...failing, functionName: (saved[0] as { name: string }).name };
    expect((await conditions.ask([question(mended, ...rows)]))[0]!.map(({ kind }) => kind)).toEqual([
      "true",
      "error",
      "true",
    ]);
  });
});
