import { randomBytes } from "node:crypto";
import type pg from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { refusal, watchedDatabase, type WatchedDatabase } from "./watched-database.ts";

let watched: WatchedDatabase;
let other: pg.Client;
const otherRole = `admin_${randomBytes(4).toString("hex")}`;

beforeAll(async () => {
  watched = await watchedDatabase("author");
  await watched.app.query("create table orders (id int primary key, status text)");
  await watched.db.query(`create role ${otherRole} login in role walhook_admin`);
  await watched.app.query(`grant select on orders to ${otherRole}`);
  other = await watched.db.connect(otherRole);
});
afterAll(async () => {
  await watched.db.query(`drop owned by ${otherRole}; drop role ${otherRole}`);
  await watched.drop();
});
beforeEach(async () => {
  await watched.admin.query("delete from walhook.webhook");
  await watched.webhook("a", "orders", "after_insert");
  await watched.webhook("b", "orders", "after_insert");
});

async function authors(): Promise<Record<string, unknown>> {
  const rows = await watched.rows("select name, author::text from walhook.webhook");
  return Object.fromEntries(rows.map((row) => [row["name"], row["author"]]));
}

describe("the author", () => {
  it("is who last changed what is sent, whatever the statement says", async () => {
    await other.query(
      "update walhook.webhook set author = 'postgres', request_url = 'https://example.org' where name = 'a'",
    );
    await watched.admin.query("update walhook.webhook set author = 'postgres' where name = 'b'");
    expect(await authors()).toEqual({ a: otherRole, b: watched.roles.admin });
  });

  it("is not who enables or disables", async () => {
    await other.query("update walhook.webhook set enabled = false");
    expect(await authors()).toEqual({ a: watched.roles.admin, b: watched.roles.admin });
  });

  it("is who changes, adds or removes a header or a data row", async () => {
    await other.query("insert into walhook.webhook_header (webhook, key, value) values ('a', 'X-A', '1')");
    expect(await authors()).toMatchObject({ a: otherRole });
    await watched.admin.query("update walhook.webhook_header set value = '2'");
    expect(await authors()).toMatchObject({ a: watched.roles.admin });
    await other.query("delete from walhook.webhook_header");
    expect(await authors()).toMatchObject({ a: otherRole });
  });

  it("of both webhooks is who moves a row from one to the other", async () => {
    await watched.admin.query("insert into walhook.webhook_data (webhook, fieldname) values ('a', 'status')");
    await other.query("update walhook.webhook_data set webhook = 'b'");
    expect(await authors()).toEqual({ a: otherRole, b: otherRole });
  });

  it("is never the tables' owner because a rename or a deletion cascades", async () => {
    await watched.admin.query(
      "insert into walhook.webhook_data (webhook, fieldname) values ('a', 'status'), ('b', 'id')",
    );
    await other.query("update walhook.webhook set name = 'c' where name = 'a'");
    expect(await authors()).toEqual({ b: watched.roles.admin, c: otherRole });
    // The name that one leaves is taken by another in the same statement.
    await other.query("update walhook.webhook set name = 'x'  where name = 'b'");
    await other.query(
      `with gone as (delete from walhook.webhook where name = 'c' returning name)
       update walhook.webhook set name = 'c' where name = 'x' and exists (select from gone)`,
    );
    expect(await authors()).toEqual({ c: otherRole });
    expect(await watched.rows("select webhook, fieldname from walhook.webhook_data")).toEqual([
      { webhook: "c", fieldname: "id" },
    ]);
  });

  it("must be able to read the table, also when only a header changes", async () => {
    await watched.app.query(`revoke select on orders from ${otherRole}`);
    const { message, hint } = await refusal(
      other.query("insert into walhook.webhook_header (webhook, key, value) values ('a', 'X-A', '1')"),
    );
    await watched.app.query(`grant select on orders to ${otherRole}`);
    expect(message).toContain("may not read");
    expect(hint).toContain(`grant select on public.orders to ${otherRole}`);
  });

  it("that lost its right is told to the bridge, and the webhook can still be disabled", async () => {
    await watched.app.query(`revoke select on orders from "${watched.roles.admin}"`);
    const rights = await watched.db.queryAs(
      watched.roles.bridge,
      "select may_read, reason from walhook.author_rights()",
    );
    await other.query("update walhook.webhook set enabled = false where name = 'a'");
    await watched.app.query(`grant select on orders to "${watched.roles.admin}"`);
    expect(rights.rows).toHaveLength(2);
    expect(rights.rows[0]).toMatchObject({ may_read: false, reason: expect.stringContaining("may not read") });
    const after = await watched.db.queryAs(watched.roles.bridge, "select may_read from walhook.author_rights()");
    expect(after.rows).toEqual([{ may_read: true }, { may_read: true }]);
  });
});

describe("a secret", () => {
  const secretOf = async (name: string): Promise<unknown> =>
    (
      await watched.rows(
        "select s.secret from walhook.webhook w left join walhook.webhook_secret s on s.webhook_id = w.id where w.name = $1",
        [name],
      )
    )[0]?.["secret"];

  it("cannot be read back by who wrote it, nor by anybody but the bridge", async () => {
    const { rows } = await watched.admin.query(
      "update walhook.webhook set webhook_secret = 'topsecret', enable_security = true where name = 'a' returning webhook_secret",
    );
    expect(rows).toEqual([{ webhook_secret: "***" }]);
    expect((await refusal(watched.admin.query("select secret from walhook.webhook_secret"))).code).toBe("42501");
    const bridge = await watched.db.queryAs(watched.roles.bridge, "select secret from walhook.webhook_secret");
    expect(bridge.rows).toEqual([{ secret: "topsecret" }]);
  });

  it("stays while *** stands there, and goes with NULL or its webhook", async () => {
    await watched.webhook("s", "orders", "after_insert", { webhook_secret: "one" });
    await watched.admin.query("update walhook.webhook set webhook_secret = '***', enabled = false where name = 's'");
    expect(await secretOf("s")).toBe("one");
    await watched.admin.query("update walhook.webhook set webhook_secret = null where name = 's'");
    expect(await secretOf("s")).toBeNull();
    await watched.admin.query("update walhook.webhook set webhook_secret = 'two' where name = 's'");
    await watched.admin.query("delete from walhook.webhook where name = 's'");
    expect(await watched.rows("select webhook_id from walhook.webhook_secret")).toEqual([]);
  });

  it("is taken by INSERT … ON CONFLICT where the statement says so, and only then", async () => {
    const upsert = (secret: string, action: string): Promise<unknown> =>
      watched.admin.query(
        `insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url, webhook_secret)
         values ('u', 'orders', 'after_insert', 'https://example.com', $1) on conflict (name) ${action}`,
        [secret],
      );
    const update = "do update set webhook_secret = excluded.webhook_secret";
    await upsert("one", update);
    expect(await secretOf("u")).toBe("one");
    await upsert("two", update);
    expect(await secretOf("u")).toBe("two");
    await upsert("three", "do nothing");
    await upsert("four", "do update set enabled = excluded.enabled");
    await watched.admin.query("update walhook.webhook set enabled = false where name = 'u'");
    expect(await secretOf("u")).toBe("two");
    expect(await watched.rows("select webhook_secret from walhook.webhook where name = 'u'")).toEqual([
      { webhook_secret: "***" },
    ]);
  });
});
