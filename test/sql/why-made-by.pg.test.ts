import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startSystem, type System } from "../support/system.ts";
import { refusal } from "./watched-database.ts";

let system: System;
const analyst = `analyst_${randomBytes(4).toString("hex")}`;
const leaver = `leaver_${randomBytes(4).toString("hex")}`;

interface Why {
  readonly webhook: string | null;
  readonly verdict: string;
  readonly reason: string;
}
async function why(args: string, role = system.roles.admin): Promise<readonly Why[]> {
  return (await system.db.queryAs(role, `select webhook, verdict, reason from walhook.why(${args})`)).rows as Why[];
}
const sent = async (args: string, role?: string): Promise<readonly string[]> =>
  (await why(args, role)).filter(({ verdict }) => verdict === "sent").map(({ reason }) => reason);
const now = async (): Promise<string> => (await why("'orders', '1', webhook => 'other'")).at(-1)!.reason;

beforeAll(async () => {
  system = await startSystem("why_made_by");
  await system.look(
    `create role ${analyst} login in role walhook_analyst; create role ${leaver} login in role walhook_admin`,
  );
  await system.app(`create table orders (id int primary key); create table old_orders (id int primary key);
    grant select on orders to ${leaver}; insert into orders values (9)`);
  await system.webhook("w", "orders", "after_insert");
  await system.webhook("other", "orders", "after_insert");
  await system.webhook("former", "old_orders", "after_insert");
  await system.startBridge();
  await system.app("insert into orders values (1); insert into old_orders values (1)");
  await system.settled();
});
afterAll(() => system.drop());

describe("walhook.why", () => {
  it("can be asked about one webhook, also by name, and says which there are", async () => {
    const all = await why("'orders', '1'");
    expect(all.map(({ webhook, verdict }) => [webhook, verdict])).toEqual(
      expect.arrayContaining([
        ["w", "sent"],
        ["w", "now"],
        ["other", "sent"],
        ["other", "now"],
      ]),
    );
    expect(await why("'orders', '1', webhook => 'w'")).toEqual(all.filter(({ webhook }) => webhook === "w"));
    expect(await refusal(why("'orders', '1', webhook => 'former'"))).toMatchObject({
      message: 'no webhook "former" watches table public.orders',
      hint: "These do: other, w.",
    });
  });

  it("takes since => NULL for its default, and no table for a mistake", async () => {
    expect(await sent("'orders', '1', null, 'w'")).toEqual(["HTTP 200"]);
    expect((await refusal(why("null, '1'"))).message).toBe("which table? Its name is NULL");
    expect((await refusal(why("'orders', null"))).message).toBe("which document of orders? Its name is NULL");
  });

  it("says what was sent as a test, by a backfill, and again by a replay", async () => {
    await system.admin("select walhook.send_test('w', '9')");
    await eventually(async () => (await sent("'orders', '9', webhook => 'w'")).length === 1);
    expect(await sent("'orders', '9', webhook => 'w'")).toEqual(["sent as a test; HTTP 200"]);
    await system.admin("select walhook.backfill('w', 'doc.id = 9')");
    await eventually(async () => (await sent("'orders', '9', webhook => 'w'")).length === 2);
    expect(await sent("'orders', '9', webhook => 'w'")).toContain("sent by a backfill; HTTP 200");
    await system.admin("select walhook.replay('w', docname => '1', dry_run => false)");
    await eventually(
      async () => (await sent("'orders', '1', webhook => 'w'"))[0] === "sent again by a replay; HTTP 200",
    );
    system.receiver.answer({ status: 503 });
    await system.admin("select walhook.send_test('w', '1')");
    await eventually(async () =>
      (await why("'orders', '1', webhook => 'w'")).some(({ reason }) => reason === "error: it was a test; HTTP 503"),
    );
    system.receiver.answer({});
  });

  it("knows of a webhook that was deleted, for who may read the log, also where no other watches the table", async () => {
    await system.admin("delete from walhook.webhook where name = 'former'");
    await system.settled();
    const nobody = {
      webhook: null,
      verdict: "now",
      reason: "no webhook watches table public.old_orders",
    };
    expect(await why("'old_orders', '1'", analyst)).toEqual([
      { webhook: "former", verdict: "sent", reason: "HTTP 200; its webhook was deleted since" },
      nobody,
    ]);
    expect(await why("'old_orders', 'no key'", analyst)).toEqual([nobody]);
    expect(await why("'old_orders', '1'")).toEqual([nobody]);
  });

  it("gives a remedy that can be run where the author is gone, also of one with a condition", async () => {
    await system.db.queryAs(
      leaver,
      `insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url, condition)
       values ('leaving', 'orders', 'after_insert', '${system.receiver.url}/leaving', null),
              ('deciding', 'orders', 'after_insert', '${system.receiver.url}/leaving', 'doc.id > 0')`,
    );
    await system.look(`reassign owned by ${leaver} to postgres; drop owned by ${leaver}; drop role ${leaver}`);
    for (const name of ["leaving", "deciding"]) {
      const held = async (): Promise<string> => (await why(`'orders', '1', webhook => '${name}'`)).at(-1)!.reason;
      await eventually(async () => (await held()).startsWith("it is held"));
      const [, remedy = ""] = /another role takes it over.* by (update .*)/.exec(await held()) ?? [];
      await system.admin(remedy);
      await eventually(async () => (await held()).startsWith("nothing keeps it from sending"));
    }
  });

  it("says that the bridge is behind, and by how much", async () => {
    await eventually(async () => {
      await system.look("select pg_logical_emit_message(false, 'other', repeat('x', 4000000))");
      const [line = ""] = (await now()).split("\n");
      return /^the bridge is behind, .* of the write-ahead log are not read yet: what is committed may be among them$/.test(
        line,
      );
    });
    await system.caughtUp();
    expect(await now()).toMatch(/^nothing keeps it from sending/);
  });

  it("tells no moment that is past as the end of a breaker, nor an error that is over", async () => {
    await system.look(
      `update walhook.webhook_state set state = 'ok', health = 'failing', breaker = 'open', breaker_until = now() - interval '1 hour', last_error = 'HTTP 503'
        where name = 'other'`,
    );
    expect(await now()).toMatch(/^its breaker is open, since its receiver fails/);
    const status = () => system.look("select last_error from walhook.status where webhook = 'other'");
    expect(await status()).toEqual([{ last_error: "HTTP 503" }]);
    await system.look("update walhook.webhook_state set health = 'ok', breaker = 'closed' where name = 'other'");
    expect(await status()).toEqual([{ last_error: null }]);
  });

  it("says that the slot is gone, and that what is committed may be lost", async () => {
    await system.stopBridges();
    expect(await now()).toMatch(/^the bridge is stopped/);
    const remedy = () => system.look("select remedy from walhook.bridge_status");
    expect(await remedy()).toEqual([{ remedy: "Start it: walhook run." }]);
    await system.look("select pg_drop_replication_slot(slot_name) from walhook.bridge");
    expect(await now()).toMatch(
      /^the replication slot does not exist any more, so what is committed may be lost: walhook accept-gap shows what to do/,
    );
    expect(await remedy()).toEqual([{ remedy: "See walhook accept-gap: changes since the slot went may be lost." }]);
  });
});
