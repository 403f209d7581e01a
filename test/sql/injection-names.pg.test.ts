import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createBridge } from "../../src/bridge.ts";
import { ensureBridgeSlot } from "../../src/slot/create-bridge-slot.ts";
import { migrate } from "../../src/db/migrate.ts";
import { eventually } from "../support/eventually.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;

beforeAll(async () => {
  system = await startSystem("injection_names");
  await system.look(`grant create on database ${system.db.name} to "${system.roles.app}"`);
  await system.app("create table loot (what text primary key); insert into loot values ('gold')");
  await system.app(`revoke all on loot from "${system.roles.admin}"`);
  await system.startBridge();
});
afterAll(() => system.drop());

const NAMES = [
  `a"b`,
  `a'b''c`,
  `x"; drop table loot; --`,
  `'); drop table loot; --`,
  `$$`,
  `$1`,
  `$tag$`,
  `%I %s %L %%`,
  `a\\b`,
  `E'\\''`,
  `{{doc.id}}`,
  `{a,b}`,
  `(a,b)`,
  `a, b`,
  `größe 表 🐘`,
  `select`,
  `Mixed Case`,
  `doc.old`,
  `a.b."c"`,
  `/* */ --`,
  "n".repeat(63),
  "é".repeat(31),
] as const;

describe("whatever stands in the names of schema, table, column and webhook, it is a name", () => {
  it.each(NAMES)("%s", async (name) => {
    const q = pg.escapeIdentifier(name);
    await system.app(`create schema ${q}; grant usage on schema ${q} to "${system.roles.admin}"`);
    await system.app(`create table ${q}.${q} (${q} int primary key, note text)`);
    await system.app(`grant select on ${q}.${q} to "${system.roles.admin}"`);
    await system.admin(
      `insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url, condition, enable_security, webhook_secret)
       values ($1, $2, 'after_insert, on_update, on_trash', $3, $4, true, $1)`,
      [name, `${q}.${q}`, `${system.receiver.url}/names`, `doc.${q} = 1 and old.${q} is distinct from 7`],
    );
    await system.admin("insert into walhook.webhook_data (webhook, fieldname, key) values ($1, $1, $1)", [name]);
    await system.admin(
      "insert into walhook.webhook_header (webhook, key, value) values ($1, 'X-Note', '{{doc.note}}')",
      [name],
    );
    const before = system.receiver.requests.length;
    await system.app(`insert into ${q}.${q} values (1, 'a'), (2, 'a')`);
    await system.app(`update ${q}.${q} set note = 'b'`);
    await system.app(`delete from ${q}.${q}`);
    await system.settled();
    const got = system.receiver.requests.slice(before);
    expect(got.map(({ body, headers }) => [body.toString(), headers["x-note"]])).toEqual([
      [JSON.stringify({ [name]: 1 }), "a"],
      [JSON.stringify({ [name]: 1 }), "b"],
      [JSON.stringify({ [name]: 1 }), "b"],
    ]);
    const doctype = `${name}.${name}`;
    expect(
      await system.look(
        "select doctype, docname, outcome from walhook.webhook_request_log where webhook = $1 order by sent_at",
        [name],
      ),
    ).toEqual(Array.from({ length: 3 }, () => ({ doctype, docname: "1", outcome: "delivered" })));
    await system.app(`insert into ${q}.${q} values (1, 'c')`);
    const [shown] = await system.admin(
      "select fires, body, signature <> '' as is_signed from walhook.preview($1, '1')",
      [name],
    );
    expect(shown).toEqual({ fires: true, body: JSON.stringify({ [name]: 1 }), is_signed: true });
    await system.admin("select walhook.replay_dead_letters($1, delivery_id => $1)", [name]);
    await expect(system.admin("select walhook.replay_dead_letters($1, docname => $1)", [name])).rejects.toMatchObject({
      code: "22023",
      message: expect.stringContaining("is no name of a document of "),
    });
    await system.admin("select * from walhook.add_webhook($1, 'on_trash', 'https://example.com', enabled => false)", [
      `${q}.${q}`,
    ]);
    await system.admin("update walhook.webhook set name = $1 || 'x' where name = $1", [name]);
    await system.admin("delete from walhook.webhook");
    await system.app(`drop schema ${q} cascade`);
    expect(await system.app("select what from loot")).toEqual([{ what: "gold" }]);
  });
});

describe("the same of roles and of the database", () => {
  it.each([`ro"le`, `ro'le; drop table loot`, "$$ro%I$$", "r\\ôle 表", "someone@example.com", "r".repeat(63)])(
    "author %s",
    async (role) => {
      const q = pg.escapeIdentifier(role);
      await system.look(`create role ${q} login in role walhook_admin; grant usage on schema public to ${q}`);
      await system.app("create table if not exists orders (id int primary key)");
      await system.app(`grant select on orders to ${q}`);
      const url = new URL(system.db.url);
      url.username = encodeURIComponent(role);
      const author = new pg.Client({ connectionString: url.href });
      await author.connect();
      try {
        await author.query(
          `insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url, condition) values ('w', 'orders', 'after_insert', $1, 'doc.id > 0')`,
          [`${system.receiver.url}/role`],
        );
        const before = system.received("role").length;
        await system.app("insert into orders select coalesce(max(id), 0) + 1 from orders");
        await eventually(() => system.received("role").length === before + 1);
        await system.app(`revoke select on orders from ${q}`);
        const [state] = await eventually(async () => {
          const rows = await system.look(
            "select s.last_error from walhook.webhook_state s join walhook.webhook w on w.id = s.webhook_id where s.state = 'held'",
          );
          return rows.length > 0 ? rows : null;
        });
        expect(state?.["last_error"]).toContain(role);
      } finally {
        await author.query("delete from walhook.webhook");
        await author.end();
        await system.caughtUp();
        await eventually(async () => {
          await system.look(`drop owned by ${q}; drop role ${q}`);
          return true;
        });
      }
    },
  );

  it.each([`da"ta'base $$; --`, "d".repeat(63), "größe表"])("database %s", async (name) => {
    const q = pg.escapeIdentifier(name);
    await system.look(`create database ${q}`);
    const url = new URL(system.db.url);
    url.pathname = `/${encodeURI(name)}`;
    const client = new pg.Client({ connectionString: url.href });
    await client.connect();
    try {
      await migrate(client);
      await client.query("create table orders (id int primary key)");
      await client.query("grant postgres to walhook_owner");
      await ensureBridgeSlot(url.href);
      const bridge = createBridge({ databaseUrl: url.href });
      await bridge.start();
      await client.query(
        "insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url, payload_format) values ('w', 'orders', 'after_insert', $1, 'cloudevents-structured')",
        [`${system.receiver.url}/database`],
      );
      const before = system.received("database").length;
      await client.query("insert into orders values (1)");
      await eventually(() => system.received("database").length === before + 1);
      expect(
        () =>
          new URL(
            (JSON.parse(system.received("database").at(-1)!.body.toString()) as { source: string }).source,
            "http://x",
          ),
      ).not.toThrow();
      await bridge.stop();
    } finally {
      await client.end();
      await system.look("revoke postgres from walhook_owner");
      await system.look("select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = $1", [
        name,
      ]);
      await system.look(`drop database ${q} with (force)`);
    }
  });
});
