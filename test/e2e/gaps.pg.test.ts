import pg from "pg";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { serverMajor } from "../support/database.ts";
import { eventually } from "../support/eventually.ts";
import { startSystem, type System } from "../support/system.ts";
import { runCli, startCli, type CliProcess, type CliResult } from "../support/walhook-cli.ts";

const GAP = 5;

let system: System;
let bridges: CliProcess[];

beforeEach(async () => {
  system = await startSystem("gaps");
  bridges = [];
  await system.app("create table orders (id bigint primary key); create table invoices (id bigint primary key)");
  await system.webhook("order", "orders", "after_insert, on_trash");
  await system.webhook("invoice", "invoices", "after_insert");
});
afterEach(async () => {
  for (const { child } of bridges) child.kill("SIGKILL");
  await Promise.allSettled(bridges.map(({ ended }) => ended));
  await system.drop();
});

function run(): CliProcess {
  const bridge = startCli(["run"], { DATABASE_URL: system.db.urlAs(system.roles.bridge) });
  bridges.push(bridge);
  return bridge;
}

/** Runs until it has delivered an order. */
async function runAndDeliver(id: number): Promise<CliProcess> {
  const bridge = run();
  await bridge.line(/info {2}running/);
  await system.app("insert into orders values ($1)", [id]);
  await eventually(() => deliveredOrders().includes(String(id)));
  await system.caughtUp();
  return bridge;
}

async function runAndStop(id: number): Promise<void> {
  const bridge = await runAndDeliver(id);
  bridge.child.kill("SIGTERM");
  expect(await bridge.ended).toMatchObject({ code: 0 });
}

function delivered(webhook: string): readonly string[] {
  return system.received(webhook).map(({ body }) => JSON.parse(body.toString()).data.name as string);
}

const deliveredOrders = (): readonly string[] => delivered("order");

const cli = (...args: string[]): Promise<CliResult> => runCli(args, { DATABASE_URL: system.db.url });

async function bridgeRow(): Promise<Readonly<Record<string, any>>> {
  const [row] = await system.look(
    `select state, slot_name, flush_lsn::text, stopped_lsn::text, last_error, remedy, gap_kind, gap_from_lsn::text, gap_to_lsn::text,
            gap_needs_slot, gap_detected_at, gap_from_lsn <= gap_to_lsn as is_range from walhook.bridge`,
  );
  return row ?? {};
}

/** The bridge ends with the gap's exit code, and its row has kind, range and remedy. */
async function expectGap(
  kind: string,
  ended: Promise<CliResult> = run().ended,
): Promise<Readonly<Record<string, any>>> {
  const result = await ended;
  expect(result.err).toContain(`code=${kind}`);
  expect(result.err).toContain("walhook accept-gap");
  expect(result.code).toBe(GAP);
  const row = await bridgeRow();
  expect(row).toMatchObject({ state: "gap", gap_kind: kind, remedy: expect.stringContaining("walhook accept-gap") });
  expect(row["gap_detected_at"]).toBeInstanceOf(Date);
  expect(row["gap_from_lsn"]).toMatch(/^[0-9A-F]+\/[0-9A-F]+$/);
  return row;
}

/** Accepts it; the bridge goes on, with the webhooks as they are. */
async function expectAccepted(row: Readonly<Record<string, any>>, next: number): Promise<void> {
  const accepted = await cli("accept-gap", "--yes", "--reason", "a test");
  expect(accepted).toMatchObject({ code: 0, err: "", out: expect.stringContaining("on record as walhook.gap 1") });
  const now = await bridgeRow();
  expect(now).toMatchObject({ gap_kind: null, gap_from_lsn: null, gap_to_lsn: null, last_error: null, remedy: null });
  expect(now["slot_name"] !== row["slot_name"]).toBe(row["gap_needs_slot"]);
  const gaps = await system.look(
    `select kind, slot_name, from_lsn::text, from_lsn <= to_lsn as is_range, detected_at, error, new_slot_name, accepted_by::text, reason
     from walhook.gap`,
  );
  expect(gaps).toEqual([
    {
      kind: row["gap_kind"],
      slot_name: row["slot_name"],
      from_lsn: row["gap_from_lsn"],
      is_range: expect.any(Boolean),
      detected_at: row["gap_detected_at"],
      error: row["last_error"],
      new_slot_name: row["gap_needs_slot"] ? now["slot_name"] : null,
      accepted_by: "postgres",
      reason: "a test",
    },
  ]);
  expect(await cli("accept-gap", "--yes")).toMatchObject({ code: 0, out: expect.stringMatching(/^no gap/) });
  const bridge = await runAndDeliver(next);
  await system.app("delete from orders where id = $1", [next]);
  await eventually(() => deliveredOrders().filter((id) => id === String(next)).length === 2);
  expect(await cli("check")).toMatchObject({ code: 0 });
  expect(bridge.child.exitCode).toBeNull();
}

function escape(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
}

test("a gap is shown wherever an operator looks; starting again neither helps nor writes anything", async () => {
  await runAndStop(1);
  await system.look("select pg_drop_replication_slot(slot_name) from walhook.bridge");
  const row = await expectGap("slot_missing");
  const kind = row["gap_kind"] as string;
  expect(await run().ended).toMatchObject({ code: GAP });
  expect(await bridgeRow()).toEqual(row);
  expect(await cli("check")).toMatchObject({ code: 1, out: expect.stringContaining(`problem  gap: ${kind}: `) });
  expect(await cli("health")).toMatchObject({ code: 1, out: expect.stringMatching(/^gap, /) });
  const shown = await cli("accept-gap");
  expect(shown).toMatchObject({ code: GAP, err: "" });
  expect(shown.out).toMatch(
    new RegExp(`^gap {7}${kind}, found 2.*\\n {10}${escape(row["last_error"])}\\nrange {5}from ${row["gap_from_lsn"]}`),
  );
  expect(await bridgeRow()).toEqual(row);
});

describe("while the bridge is stopped", () => {
  test("a slot that was dropped", async () => {
    await runAndStop(1);
    const { flush_lsn: left } = await bridgeRow();
    await system.look("select pg_drop_replication_slot(slot_name) from walhook.bridge");
    await system.app("insert into orders values (2)");
    const row = await expectGap("slot_missing");
    expect(row).toMatchObject({ gap_from_lsn: left, is_range: true, gap_needs_slot: true });
    await expectAccepted(row, 3);
    expect(deliveredOrders()).not.toContain("2");
  });

  test("a slot that was dropped and made anew under its name, at once", async () => {
    await runAndStop(1);
    await system.look(
      `select pg_drop_replication_slot(slot_name) from walhook.bridge;
       select pg_create_logical_replication_slot(slot_name, 'pgoutput') from walhook.bridge`,
    );
    await expectAccepted(await expectGap("slot_moved"), 2);
  });

  test("a slot that was advanced, to the byte", async () => {
    await runAndStop(1);
    const before = await bridgeRow();
    expect(before["stopped_lsn"]).toBe(before["flush_lsn"]);
    const [slot] = await system.look(
      "select confirmed_flush_lsn::text as lsn from pg_replication_slots s join walhook.bridge b on b.slot_name = s.slot_name",
    );
    expect(slot).toEqual({ lsn: before["stopped_lsn"] });
    await system.app("insert into orders values (2)");
    const [moved] = await system.look(
      "select (pg_replication_slot_advance(slot_name, pg_current_wal_lsn())).end_lsn::text as lsn from walhook.bridge",
    );
    const row = await expectGap("slot_moved");
    expect(row).toMatchObject({ gap_from_lsn: before["stopped_lsn"], gap_to_lsn: moved?.["lsn"] });
    await expectAccepted(row, 3);
  });

  test("a slot of another kind that has its name", async () => {
    await runAndStop(1);
    await system.look(
      `select pg_drop_replication_slot(slot_name) from walhook.bridge;
       select pg_create_physical_replication_slot(slot_name) from walhook.bridge`,
    );
    const row = await expectGap("slot_recreated");
    await expectAccepted(row, 2);
    await system.look("select pg_drop_replication_slot($1)", [row["slot_name"]]);
  });

  test("another cluster", async () => {
    await runAndStop(1);
    await system.look("update walhook.bridge set system_identifier = '7000000000000000000'");
    const row = await expectGap("other_system");
    expect(row).toMatchObject({ gap_to_lsn: null, remedy: expect.stringContaining("walhook uninstall") });
    await expectAccepted(row, 2);
  });

  test("a copy of the database", async () => {
    await runAndStop(1);
    const original = await bridgeRow();
    const copy = `${system.db.name}_copy`;
    const server = new pg.Client({ connectionString: system.db.url.replace(/\/[^/]*$/, "/postgres") });
    await server.connect();
    const url = system.db.url.replace(/\/[^/]*$/, `/${copy}`);
    const ofCopy = (...args: string[]): Promise<CliResult> => runCli(args, { DATABASE_URL: url });
    try {
      await server.query(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and pid <> pg_backend_pid()",
        [system.db.name],
      );
      await eventually(() => server.query(`create database "${copy}" template "${system.db.name}"`));
      expect(await ofCopy("run")).toMatchObject({ code: GAP, err: expect.stringContaining("code=other_database") });
      expect(await ofCopy("accept-gap")).toMatchObject({
        code: GAP,
        out: expect.stringContaining("walhook uninstall"),
      });
      const accepted = await ofCopy("accept-gap", "--yes");
      expect(accepted).toMatchObject({ code: 0, err: "" });
      expect(await ofCopy("check")).toMatchObject({ code: 0 });
      expect(accepted.out).not.toContain(`${original["slot_name"]} dropped`);
      // The original's slot is where it was.
      const { rows } = await server.query("select database from pg_replication_slots where slot_name = $1", [
        original["slot_name"],
      ]);
      expect(rows).toEqual([{ database: system.db.name }]);
    } finally {
      await server.query("select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = $1", [
        copy,
      ]);
      await server.query(`drop database if exists "${copy}" with (force)`);
      await server.end();
    }
  });

  test("a publication that was dropped; the other tables lose nothing where the slot can go on", async () => {
    await runAndStop(1);
    await system.look("drop publication walhook_insert");
    await system.app("insert into orders values (2)");
    const row = await expectGap("publication_missing");
    const isTolerant = (await serverMajor(system.db)) >= 18;
    expect(row).toMatchObject({ gap_needs_slot: !isTolerant });
    await expectAccepted(row, 3);
    expect(deliveredOrders().includes("2")).toBe(isTolerant);
  });

  test("the publication of the configuration itself: what was configured meanwhile is in force after it", async () => {
    await system.webhook("paid", "invoices", "after_insert");
    await runAndStop(1);
    await system.look("drop publication walhook_all");
    await system.admin("delete from walhook.webhook where name = 'paid'");
    await system.admin(
      'update walhook.webhook set webhook_json = \'{"data": {"name": "new"}}\' where name = \'invoice\'',
    );
    const row = await expectGap("publication_missing");
    expect(row).toMatchObject({ gap_needs_slot: true });
    await expectAccepted(row, 2);
    await system.app("insert into invoices values (1)");
    await system.settled();
    expect(delivered("invoice")).toEqual(["new"]);
    expect(system.received("paid")).toEqual([]);
  });

  test("a table that was taken out of its publication, and put back; the other tables lose nothing", async () => {
    await runAndStop(1);
    await system.look("alter publication walhook_all drop table orders");
    await system.app("insert into orders values (2); insert into invoices values (1)");
    await system.look("alter publication walhook_all add table orders");
    const row = await expectGap("table_unpublished");
    expect(row).toMatchObject({ gap_needs_slot: false, last_error: expect.stringContaining("orders") });
    await expectAccepted(row, 3);
    expect(deliveredOrders()).not.toContain("2");
    expect(delivered("invoice")).toEqual(["1"]);
  });

  test("a table that was taken out is not covered up by a webhook that publishes it again", async () => {
    await runAndStop(1);
    await system.look("alter publication walhook_all drop table orders");
    await system.webhook("second", "orders", "on_change");
    const row = await expectGap("table_unpublished");
    await expectAccepted(row, 2);
  });

  test("publications that no longer publish all that they must", async () => {
    await runAndStop(1);
    await system.look("alter publication walhook_all set (publish = 'insert, update')");
    await system.look("alter publication walhook_insert set (publish_via_partition_root = false)");
    const row = await expectGap("publication_changed");
    expect(row["last_error"]).toContain("walhook_all no longer publishes all that it must (no TRUNCATE, no DELETE)");
    expect(row["last_error"]).toContain(
      "walhook_insert no longer publishes all that it must (partitions not as their root)",
    );
    await expectAccepted(row, 2);
  });

  test("a row filter or a column list", async () => {
    if ((await serverMajor(system.db)) < 15) return;
    await runAndStop(1);
    await system
      .look("alter publication walhook_all drop table orders, add table orders where (id > 10)")
      .catch(() =>
        system.look(
          "alter publication walhook_all drop table orders; alter publication walhook_all add table orders where (id > 10)",
        ),
      );
    await expectAccepted(await expectGap("table_unpublished"), 2);
  });

  test("changes of the configuration, dropped tables and a killed bridge are none", async () => {
    const bridge = await runAndDeliver(1);
    bridge.child.kill("SIGKILL");
    await bridge.ended;
    await system.app(
      "create table parts (id bigint primary key) partition by range (id); create table part1 partition of parts default",
    );
    await system.webhook("part", "parts", "after_insert");
    await system.admin("update walhook.webhook set webhook_docevent = 'after_insert' where name = 'order'");
    await system.admin("delete from walhook.webhook where name = 'invoice'");
    await system.app("drop table invoices; insert into parts values (1); insert into orders values (2)");
    await runAndStop(3);
    expect(delivered("part")).toEqual(["1"]);
    await system.app("drop table parts");
    await runAndStop(4);
    expect(await cli("accept-gap")).toMatchObject({ code: 0, out: expect.stringMatching(/^no gap/) });
    expect(await system.look("select from walhook.gap")).toEqual([]);
  });

  test("after a crash: farther than idling explains, which is 16 MiB", async () => {
    const bridge = await runAndDeliver(1);
    bridge.child.kill("SIGKILL");
    await bridge.ended;
    expect(await bridgeRow()).toMatchObject({ stopped_lsn: null });
    await system.look("create table bulk as select repeat('x', 1000) as x from generate_series(1, 20000)");
    await eventually(() =>
      system.look("select pg_replication_slot_advance(slot_name, pg_current_wal_lsn()) from walhook.bridge"),
    );
    await expectAccepted(await expectGap("slot_moved"), 2);
  });

  test("a role that may not repair a publication is told who may, and the gap stays open", async () => {
    await runAndStop(1);
    await system.look("alter publication walhook_all drop table orders");
    const row = await expectGap("table_unpublished");
    const refused = await runCli(["accept-gap", "--yes"], { DATABASE_URL: system.db.urlAs(system.roles.bridge) });
    expect(refused).toMatchObject({ code: 3, err: expect.stringContaining("installed Walhook") });
    expect(await bridgeRow()).toMatchObject({ state: "gap", gap_kind: "table_unpublished" });
    await expectAccepted({ ...row, ...(await bridgeRow()) }, 2);
  });

  test("the bridge's own role may accept a gap that takes only a new slot", async () => {
    await runAndStop(1);
    await system.look("select pg_drop_replication_slot(slot_name) from walhook.bridge");
    const accepted = await runCli(["accept-gap", "--yes"], { DATABASE_URL: system.db.urlAs(system.roles.bridge) });
    expect(accepted).toMatchObject({ code: 0, err: "" });
    expect(await system.look("select accepted_by::text, reason from walhook.gap")).toEqual([
      { accepted_by: system.roles.bridge, reason: null },
    ]);
    await runAndDeliver(2);
  });
});

describe("while the bridge runs, it stops within seconds", () => {
  test("a publication that is dropped", async () => {
    const bridge = await runAndDeliver(1);
    await system.look("drop publication walhook_all");
    const row = await expectGap("publication_missing", bridge.ended);
    expect(row).toMatchObject({ is_range: true, gap_needs_slot: true });
    await expectAccepted(row, 2);
  });

  test("a table that is taken out of its publication; what it had not read before is still sent", async () => {
    const bridge = await runAndDeliver(1);
    const [before] = await system.look("select pg_current_wal_lsn() as lsn");
    await system.look("alter publication walhook_all drop table orders");
    await system.app("insert into orders values (2); insert into invoices values (1)");
    const row = await expectGap("table_unpublished", bridge.ended);
    expect(row).toMatchObject({ gap_needs_slot: false });
    const [place] = await system.look("select $1::pg_lsn <= $2::pg_lsn as is_before", [
      row["gap_from_lsn"],
      before?.["lsn"],
    ]);
    expect(place).toEqual({ is_before: true });
    await system.app("insert into invoices values (2)");
    await expectAccepted(row, 3);
    expect(deliveredOrders()).not.toContain("2");
    expect(new Set(delivered("invoice"))).toEqual(new Set(["1", "2"]));
  });

  test("a publication that is changed", async () => {
    const bridge = await runAndDeliver(1);
    await system.look("alter publication walhook_insert set (publish = 'truncate')");
    const row = await expectGap("publication_changed", bridge.ended);
    expect(row).toMatchObject({ gap_needs_slot: false });
    await expectAccepted(row, 2);
  });

  test("a slot that is dropped as soon as its reader is gone", async () => {
    const bridge = await runAndDeliver(1);
    await eventually(async () => {
      await system.look(
        "select pg_terminate_backend(active_pid) from pg_replication_slots s join walhook.bridge b on b.slot_name = s.slot_name where active",
      );
      await system.look("select pg_drop_replication_slot(slot_name) from walhook.bridge");
      return true;
    });
    await expectAccepted(await expectGap("slot_missing", bridge.ended), 2);
  });

  test("accept-gap refuses while a bridge is at work", async () => {
    await runAndDeliver(1);
    for (const args of [["accept-gap"], ["accept-gap", "--yes"]]) {
      expect(await cli(...args)).toMatchObject({
        code: 3,
        err: expect.stringContaining("a bridge reads the replication slot"),
      });
    }
    expect(await system.look("select from walhook.gap")).toEqual([]);
  });
});

test("the slot may be taken over by a standby, where the server knows how", async () => {
  const [slot] = await system.look(
    "select to_jsonb(s) -> 'failover' as failover from pg_replication_slots s join walhook.bridge b on b.slot_name = s.slot_name",
  );
  expect(slot).toEqual({ failover: (await serverMajor(system.db)) >= 17 ? true : null });
});
