import { copyFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { expect, it } from "vitest";
import { createBridge } from "../../src/bridge.ts";
import { ensureBridgeSlot } from "../../src/slot/create-bridge-slot.ts";
import { migrate, migrationFiles } from "../../src/db/migrate.ts";
import { createDatabase } from "../support/database.ts";
import { eventually } from "../support/eventually.ts";
import { startReceiver } from "../support/receiver.ts";

it("goes on after an upgrade with what was begun by its first version, its functions and the rows that it wanted to read again", async () => {
  const folder = await mkdtemp(join(tmpdir(), "walhook-sql-"));
  await using receiver = await startReceiver();
  await using db = await createDatabase("backfill_upgrade");
  try {
    for (const { version, url } of await migrationFiles()) {
      const path = fileURLToPath(url);
      if (version < 184) await copyFile(path, join(folder, path.replace(/^.*\//, "")));
    }
    const client = await db.connect();
    await migrate(client, { folder: pathToFileURL(`${folder}/`) });
    await ensureBridgeSlot(db.url);
    await client.query(`
      create table orders (id int primary key, v text); alter table orders owner to walhook_owner;
      insert into orders select n, case when n % 2 = 0 then repeat('x', 2000000) end from generate_series(1, 20) n;
      insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url)
        values ('w', 'orders', 'on_trash', '${receiver.url}/w'), ('w2', 'orders', 'on_trash', '${receiver.url}/w2')`);
    await client.query("select walhook.backfill('w'), walhook.backfill('w2', 'doc.id > 15')");
    // As its bridge left it: up to 10, but for 2 and 99, which is gone meanwhile.
    await client.query(`insert into walhook.backfill_state (backfill_id, last_key, until_key, pending, rows_estimated, rows_done, rows_sent)
      values (1, '["10"]', '["20"]', '[["2"],["99"]]', 20, 8, 8)`);
    expect(await migrate(client)).toContain("applied 184 backfill_bounds".replace("_", " "));
    const bridge = createBridge({ databaseUrl: db.url });
    await bridge.start();
    try {
      const states = () =>
        client.query(
          "select state, rows_done::int, rows_sent::int, error from walhook.backfill_progress order by 1, 2",
        );
      await eventually(async () => (await states()).rows.every(({ state }) => state === "done"));
      expect((await states()).rows).toEqual([
        { state: "done", rows_done: 5, rows_sent: 5, error: null },
        { state: "done", rows_done: 20, rows_sent: 19, error: null },
      ]);
      const ids = (path: string) =>
        receiver.requests
          .filter((request) => request.path === path)
          .map(({ body }) => (JSON.parse(body.toString()) as { data: { doc: { id: number } } }).data.doc.id)
          .toSorted((a, b) => a - b);
      expect(ids("/w")).toEqual([2, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]);
      expect(ids("/w2")).toEqual([16, 17, 18, 19, 20]);
      expect((await client.query("select from pg_proc where proname in ('b1', 'b2')")).rowCount).toBe(0);
    } finally {
      await bridge.stop();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
