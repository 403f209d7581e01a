import { afterAll, beforeAll, expect, test } from "vitest";
import { ensureBridgeSlot } from "../../src/slot/create-bridge-slot.ts";
import { migrate } from "../../src/db/migrate.ts";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import { eventually } from "../support/eventually.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await createDatabase("slot");
  await migrate(await database.connect());
  await database.query(
    "create table orders (id integer primary key, total numeric); alter table orders owner to walhook_owner",
  );
});
afterAll(() => database.drop());

async function bridgeRow(): Promise<Record<string, unknown>> {
  const { rows } = await database.query(
    `select slot_name, slot_generation, system_identifier, timeline_id, database_oid::text, state,
            cursor_commit_lsn::text, cursor_change_lsn::text, cursor_index, flush_lsn::text from walhook.bridge`,
  );
  return rows[0] as Record<string, unknown>;
}

function insert(name: string): string {
  return `insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url)
     values ('${name}', 'orders', 'after_insert', 'https://example.com/')`;
}

test("makes the slot once, with the configuration in force at its consistent point", async () => {
  await database.query(`
    insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url, timeout, enable_security, webhook_secret)
    values ('first', 'orders', 'after_insert', 'https://example.com/', '2 s', true, 'top secret');
    insert into walhook.webhook_header (webhook, key, value) values ('first', 'X-One', '1'), ('first', 'X-Two', '2');
    insert into walhook.webhook_data (webhook, fieldname) values ('first', 'total')`);

  const made = await ensureBridgeSlot(database.url);
  expect(made).toMatchObject({ kind: "created", webhooks: 1, replaced: [] });

  const bridge = await bridgeRow();
  const slot = await database.query(
    `select slot_name, plugin, confirmed_flush_lsn::text, database.oid::text,
            (select system_identifier::text from pg_control_system()) as system_identifier
     from pg_replication_slots join pg_database as database on datname = database where datname = $1`,
    [database.name],
  );
  const [found] = slot.rows as Record<string, unknown>[];
  expect(bridge).toEqual({
    slot_name: `walhook_${String(found?.["oid"])}_1`,
    slot_generation: 1,
    system_identifier: found?.["system_identifier"],
    timeline_id: 1,
    database_oid: found?.["oid"],
    state: "new",
    cursor_commit_lsn: found?.["confirmed_flush_lsn"],
    cursor_change_lsn: "0/0",
    cursor_index: 0,
    flush_lsn: found?.["confirmed_flush_lsn"],
  });
  expect(found).toMatchObject({ slot_name: bridge["slot_name"], plugin: "pgoutput" });

  const { rows } = await database.query("select webhook_id, definition from walhook.webhook_in_force");
  const [row] = rows as { webhook_id: number; definition: Record<string, never> }[];
  // Postgres' text, as pgoutput sends it: booleans are t and f.
  expect(row?.definition).toMatchObject({
    webhook: { name: "first", webhook_doctype: "orders", enabled: "t", is_dynamic_url: "f", timeout_ms: "2000" },
    headers: [
      { key: "X-One", value: "1" },
      { key: "X-Two", value: "2" },
    ],
    data: [{ fieldname: "total", key: "total" }],
    secrets: [{ secret: "top secret", kind: "symmetric", expires_at_ms: null }],
  });
});

test("a second call, and two at once, find the slot and change nothing", async () => {
  const before = await bridgeRow();
  const results = await Promise.all([ensureBridgeSlot(database.url), ensureBridgeSlot(database.url)]);
  expect(results.map((result) => result.kind)).toEqual(["present", "present"]);
  expect(await bridgeRow()).toEqual(before);
});

test("a recorded slot that is gone is a gap, and no slot is made", async () => {
  await database.query("select pg_drop_replication_slot(slot_name) from walhook.bridge");
  const result = await ensureBridgeSlot(database.url);
  expect(result).toEqual({ kind: "gap", slotName: (await bridgeRow())["slot_name"] });
  const { rowCount } = await database.query("select from pg_replication_slots where database = $1", [database.name]);
  expect(rowCount).toBe(0);
});

test("what is committed after the consistent point is not in force, and is in the stream", async () => {
  await using own = await createDatabase("slot_order");
  await migrate(await own.connect());
  await own.query("create table orders (id integer primary key); alter table orders owner to walhook_owner");
  await own.query(insert("early"));
  // The slot waits for this transaction, so what it writes is before the consistent point.
  const writer = await own.connect();
  await writer.query("begin");
  await writer.query(insert("open"));
  const making = ensureBridgeSlot(own.url);
  await eventually(
    async () => (await own.query("select from pg_replication_slots where database = $1", [own.name])).rowCount,
  );
  await writer.query("commit");
  expect(await making).toMatchObject({ kind: "created", webhooks: 2 });
  await own.query(insert("late"));

  const { rows } = await own.query(
    "select definition -> 'webhook' ->> 'name' as name from walhook.webhook_in_force order by 1",
  );
  expect(rows).toEqual([{ name: "early" }, { name: "open" }]);
  const streamed = await own.query(
    `select count(*)::integer as n from pg_logical_slot_peek_binary_changes(
       (select slot_name from walhook.bridge), null, null, 'proto_version', '1', 'publication_names', 'walhook_insert,walhook_all')
     where get_byte(data, 0) = ascii('I') and position('late'::bytea in data) > 0`,
  );
  expect(streamed.rows).toEqual([{ n: 1 }]);
});

test("slots that nothing refers to any more are dropped: of an interrupted install, or given up after a gap", async () => {
  await using own = await createDatabase("slot_leftover");
  await migrate(await own.connect());
  await own.query(
    `select pg_create_logical_replication_slot('walhook_' || oid || '_1', 'pgoutput')
     from pg_database where datname = current_database()`,
  );
  const first = await ensureBridgeSlot(own.url);
  expect(first).toMatchObject({ kind: "created", replaced: [first.slotName] });
  await own.query("update walhook.bridge set slot_name = null");
  const second = await ensureBridgeSlot(own.url);
  expect(second).toMatchObject({ kind: "created", replaced: [first.slotName] });
  expect(second.slotName).toMatch(/_2$/);
  expect((await own.query("select from pg_replication_slots where database = $1", [own.name])).rowCount).toBe(1);
});

test("a missing publication is refused before a slot is made", async () => {
  await using own = await createDatabase("slot_nopub");
  await migrate(await own.connect());
  await own.query("drop publication walhook_insert");
  await expect(ensureBridgeSlot(own.url)).rejects.toMatchObject({ code: "publication_missing", exitCode: 3 });
  expect((await own.query("select from pg_replication_slots where database = $1", [own.name])).rowCount).toBe(0);
});

test("a role without REPLICATION is told the statement that gives it", async () => {
  await using own = await createDatabase("slot_rights");
  await migrate(await own.connect());
  const role = `${own.name}_login`;
  await own.query(`create role ${role} login in role walhook_bridge`);
  try {
    await expect(ensureBridgeSlot(own.urlAs(role))).rejects.toMatchObject({
      code: "no_replication_right",
      exitCode: 3,
      hint: expect.stringContaining("REPLICATION"),
    });
    // With it, a member of walhook_bridge needs nothing else.
    await own.query(`alter role ${role} replication`);
    expect(await ensureBridgeSlot(own.urlAs(role))).toMatchObject({ kind: "created" });
  } finally {
    await own.query(`drop role ${role}`);
  }
});
