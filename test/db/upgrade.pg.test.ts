import { copyFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { expect, test } from "vitest";
import { migrate, migrationFiles } from "../../src/db/migrate.ts";
import { createDatabase } from "../support/database.ts";

/** The last file of the first version. */
const FIRST_VERSION = 70;

/** The configuration and queue that a bridge of the first version left behind, its columns named. */
const ROWS = `
  create table orders (id int primary key);
  alter table orders owner to walhook_owner;
  insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url, enable_security, webhook_secret)
    values ('w', 'orders', 'after_insert', 'https://example.com/', true, 'secret');
  insert into walhook.webhook_header (webhook, key, value) values ('w', 'X-A', 'b');
  insert into walhook.webhook_in_force (webhook_id, definition)
    values (1, '{"webhook": {"id": "1", "name": "w"}, "headers": [], "data": [], "secret": null}');
  insert into walhook.webhook_state (webhook_id, name, state) values (1, 'w', 'held');
  insert into walhook.webhook_queue (delivery_id, webhook_id, webhook, kind, doctype, docname, docevent, event_number, source,
    commit_lsn, change_lsn, change_index, xid, commit_time, attempts, due_at, is_dead, method, content_type, body)
  select 'msg_' || n, 1, 'w', 'request', 'orders', n::text, 'after_insert', 1, 'live', '0/1', '0/1', n, 7, now(), n, now(), n = 2,
    'POST', 'application/json', '{}' from generate_series(1, 2) n;
  insert into walhook.webhook_request_log (sent_at, delivery_id, attempt, webhook_id, webhook, doctype, docevent, source, outcome)
    values (now(), 'msg_1', 1, 1, 'w', 'orders', 'after_insert', 'live', 'retry');
  update walhook.bridge set slot_name = 'walhook_1_1', slot_generation = 1, cursor_commit_lsn = '0/1', cursor_index = 0,
    flush_lsn = '0/1', epoch = 5, state = 'stopped'`;

const TABLES = [
  "webhook",
  "webhook_header",
  "webhook_secret",
  "webhook_in_force",
  "webhook_state",
  "webhook_queue",
  "webhook_request_log",
  "bridge",
];

test("an upgrade from the first version keeps every row and every value", async () => {
  const folder = await mkdtemp(join(tmpdir(), "walhook-sql-"));
  await using db = await createDatabase("upgrade");
  try {
    for (const { version, url } of await migrationFiles()) {
      const path = fileURLToPath(url);
      if (version <= FIRST_VERSION) await copyFile(path, join(folder, path.replace(/^.*\//, "")));
    }
    const client = await db.connect();
    await migrate(client, { folder: pathToFileURL(`${folder}/`) });
    await client.query(ROWS);
    const read = async (table: string) =>
      (await client.query<{ row: object }>(`select to_jsonb(t) as row from walhook.${table} t order by 1`)).rows.map(
        ({ row }) => row,
      );
    const before = new Map<string, readonly object[]>();
    for (const table of TABLES) before.set(table, await read(table));

    const done = await migrate(client);
    expect(done).toContain("applied 080 retries");

    for (const table of TABLES) expect(await read(table), table).toMatchObject(before.get(table)!);
    // And the rows do what they did: the webhook may be changed, its dead letter be replayed.
    await client.query("update walhook.webhook set retry_schedule = '{1 s}'");
    expect((await client.query("select walhook.replay_dead_letters('w') as n")).rows).toEqual([{ n: "1" }]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
