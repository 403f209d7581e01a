import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { Kysely, PostgresDialect } from "kysely";
import type { Database } from "../../src/db/schema.ts";
import { LogMaintenance } from "../../src/record/log-maintenance.ts";
import { createPool } from "../support/database.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
beforeAll(async () => {
  system = await startSystem("maintenance");
});
afterAll(() => system.drop());

const maintenance = async (): Promise<string> =>
  String((await system.look("select maintenance from walhook.bridge"))[0]?.["maintenance"]);

describe("the maintenance of the log", () => {
  it("is told in walhook.bridge, once as long as it is the same", async () => {
    await using first = await system.startBridge();
    await eventually(async () => /^added \d+; dropped 0$/.test(await maintenance()));
    const at = () => system.look("select maintenance_at from walhook.bridge");
    const before = await at();
    await first.stop();
    await using second = await system.startBridge();
    await system.app("create table passed (id int)");
    await system.caughtUp();
    await second.stop();
    expect(await at()).toEqual(before);
  });

  it("that fails stops no delivery and no other step, and says why", async () => {
    await system.app("create table orders (id int primary key)");
    await system.webhook("w", "orders", "after_insert");
    await system.look("revoke execute on function walhook.add_log_partitions(integer) from walhook_bridge");
    await using _ = await system.startBridge();
    const failed = "adding partitions failed: permission denied for function add_log_partitions; dropped 0";
    await eventually(async () => (await maintenance()).startsWith(failed));
    await system.app("insert into orders values (1)");
    await eventually(() => system.received("w").length === 1);
  });
});

describe("the maintenance of a log that somebody reads and leaves a transaction open", () => {
  const OLD = "webhook_request_log_20200101";

  it("gives up, says so in walhook.bridge, and delays neither a delivery nor its log row; it succeeds once they have left", async () => {
    await system.look("grant execute on function walhook.add_log_partitions(integer) to walhook_bridge");
    await system.look(`create table walhook.${OLD} partition of walhook.webhook_request_log
      for values from ('2020-01-01 00:00Z') to ('2020-01-02 00:00Z'); alter table walhook.${OLD} owner to walhook_owner`);
    await system.app("create table notes (id int primary key)");
    await system.webhook("notes", "notes", "after_insert");
    const analyst = await system.db.connect();
    await analyst.query("begin; select count(*) from walhook.webhook_request_log");
    await using _ = await system.startBridge();
    await eventually(async () =>
      (await maintenance()).includes(`dropped 0; ${OLD} in use, the next round tries again`),
    );
    await system.app("insert into notes select n from generate_series(1, 20) n");
    await system.settled();
    expect(system.received("notes")).toHaveLength(20);
    expect(
      await system.look(
        "select count(*)::int as n from walhook.webhook_request_log where webhook = 'notes' and outcome = 'delivered'",
      ),
    ).toEqual([{ n: 20 }]);

    // As the bridge does after a minute, here without waiting for it.
    const pool = createPool(system.db.urlAs(system.roles.bridge));
    const db = new Kysely<Database>({ dialect: new PostgresDialect({ pool }) });
    const retention = { retentionDays: 30, bodyRetentionDays: 30, maxLogBytes: 10 ** 12, rollupRetentionDays: 30 };
    const partitions = new LogMaintenance(db, retention, 50);
    partitions.start();
    const isThere = async (): Promise<boolean> =>
      (await system.look("select from pg_class where relname = $1", [OLD])).length === 1;
    expect(await isThere()).toBe(true);
    await analyst.query("rollback");
    await eventually(async () => (await maintenance()).includes("dropped 1") && !(await isThere()));
    await partitions.close();
    await db.destroy();
    await analyst.end();
  });
});
