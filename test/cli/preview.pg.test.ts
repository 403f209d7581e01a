import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startSystem, type System } from "../support/system.ts";
import { runCli } from "../support/walhook-cli.ts";

const SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
let system: System;

beforeAll(async () => {
  system = await startSystem("cli_preview");
  await system.app(
    "create table orders (id int primary key, status text); insert into orders values (1, 'Draft'), (2, 'Paid')",
  );
  await system.webhook("w", "orders", "after_insert", {
    condition: "doc.status = 'Paid'",
    enable_security: true,
    webhook_secret: SECRET,
  });
});
afterAll(() => system.drop());

const run = (args: readonly string[], role?: string) =>
  runCli(["preview", ...args], { DATABASE_URL: role === undefined ? system.db.url : system.db.urlAs(role) });

describe("walhook preview", () => {
  it("without a bridge shows what the bridge shows", async () => {
    const facts = {
      id: "msg_1",
      timestamp: "1767225600",
      lsn: "0/ABC",
      xid: "7",
      "commit-time": "2026-01-01T00:00:00Z",
    };
    const flags = Object.entries(facts).flatMap(([flag, value]) => [`--${flag}`, value]);
    const alone = await run(["--webhook", "w", "--docname", "2", "--json", ...flags]);
    expect(alone).toMatchObject({ code: 0, err: "" });
    await system.startBridge();
    const [asked] = await system.look(
      "select row_to_json(p) as p from walhook.preview('w', '2', id => 'msg_1', sent_at => to_timestamp(1767225600), lsn => '0/ABC', xid => 7, commit_time => '2026-01-01Z') p",
    );
    const { sent_at, ...shown } = asked!["p"] as Record<string, unknown>;
    expect(JSON.parse(alone.out)).toEqual({ ...shown, sent_at: new Date(String(sent_at)).toISOString() });
    expect(shown).toMatchObject({ fires: true, signature: expect.stringMatching(/^v1,/) });
  });

  it("prints a request as it goes on the wire, for each row of a condition", async () => {
    const { out, code } = await run(["--webhook", "w", "--condition", "doc.id < 3"]);
    expect(code).toBe(0);
    const lines = out.split("\n");
    expect(lines[0]).toBe("1 after_insert: does not fire (its condition is FALSE for this row)");
    expect(lines).toContain("2 after_insert: fires");
    expect(lines).toContain(`POST ${system.receiver.url}/w`);
    expect(lines.filter((line) => line.startsWith("webhook-signature: v1,"))).toHaveLength(2);
    expect(out).not.toContain(SECRET.slice(6));
  });

  it("says what the role may not: sign, ask, read", async () => {
    const { out } = await run(["--webhook", "w", "--docname", "2", "--json"], system.roles.admin);
    expect(JSON.parse(out)).toMatchObject({
      fires: false,
      condition_holds: null,
      signature: null,
      reason: `the condition was not asked: role ${system.roles.admin} may not; not signed here: role ${system.roles.admin} may not read walhook.webhook_secret`,
    });
    const { code, err } = await run(["--webhook", "w"], system.roles.bridge);
    expect([code, err]).toEqual([3, expect.stringContaining("permission denied for function whole_question")]);
  });

  it("refuses in words what cannot be asked", async () => {
    expect(await run([])).toMatchObject({ code: 2, err: expect.stringContaining("Give --webhook and its name.") });
    expect(await run(["--webhook", "nobody"])).toEqual({
      code: 2,
      out: "",
      err: 'walhook: there is no webhook "nobody"\n  Names stand in walhook.webhook.\n',
    });
    expect(await run(["--webhook", "w", "--docname", "abc"])).toEqual({
      code: 2,
      out: "",
      err:
        `walhook: 'abc' is no name of a document of orders (invalid input syntax for type integer: "abc")\n` +
        "  Its key is id (integer): the name is its value as text.\n",
    });
    expect(await run(["--webhook", "w", "--docname", "9"])).toMatchObject({
      code: 2,
      err: expect.stringContaining("has no document '9'"),
    });
    expect((await run(["--webhook", "w", "--condition", "where true"])).err).toContain('\n  Leave out "where"');
    expect(await run(["--webhook", "w", "--lsn", "x"])).toEqual({
      code: 2,
      out: "",
      err: 'walhook: invalid input syntax for type pg_lsn: "x"\n  It is the value of --old, --lsn, --xid or --commit-time.\n',
    });
  });

  it("says of a table that is gone, and of a right that is missing, what to do in the database", async () => {
    await system.app("create table gone (id int primary key)");
    await system.webhook("gone", "gone", "after_insert");
    await system.app("drop table gone");
    expect(await run(["--webhook", "gone"])).toMatchObject({
      code: 3,
      err: expect.stringMatching(/its table gone does not exist any more\n {2}Set webhook_doctype/),
    });
    await system.admin("delete from walhook.webhook where name = 'gone'");
    expect((await run(["--webhook", "w"], system.roles.app)).err).toContain(
      "\n  GRANT walhook_admin TO <role>; and SELECT on the webhook's table.",
    );
    await system.app(`revoke select on orders from "${system.roles.admin}"`);
    expect((await run(["--webhook", "w"], system.roles.admin)).err).toContain("\n  grant select on public.orders to ");
    await system.app(`grant select on orders to "${system.roles.admin}"`);
  });
});
