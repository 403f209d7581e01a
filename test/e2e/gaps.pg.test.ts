import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import pg from "pg";
import { eventually } from "../support/eventually.ts";
import { serverMajor } from "../support/database.ts";
import { runCli, type CliResult } from "../support/walhook-cli.ts";
import { GAP_EXIT_CODE, startGapWorld, type GapWorld } from "./gap-world.ts";

// Each test starts several processes.
vi.setConfig({ testTimeout: 90_000 });

let world: GapWorld;
beforeEach(async () => {
  world = await startGapWorld();
});
afterEach(() => world.drop());

test("a gap is shown wherever an operator looks; starting again neither helps nor writes anything", async () => {
  await world.runAndStop(1);
  await world.look("select pg_drop_replication_slot(slot_name) from walhook.bridge");
  const row = await world.expectGap("slot_missing");
  const kind = row["gap_kind"] as string;
  expect(await world.run().ended).toMatchObject({ code: GAP_EXIT_CODE });
  expect(await world.bridgeRow()).toEqual(row);
  expect(await world.cli("check")).toMatchObject({ code: 1, out: expect.stringContaining(`problem  gap: ${kind}: `) });
  expect(await world.cli("health")).toMatchObject({ code: 1, out: expect.stringMatching(/^gap, /) });
  const shown = await world.cli("accept-gap");
  expect(shown).toMatchObject({ code: GAP_EXIT_CODE, err: "" });
  expect(shown.out).toMatch(/^gap {7}slot_missing, found 2/);
  expect(shown.out).toContain(row["last_error"]);
  expect(shown.out).toMatch(new RegExp(`range {5}from ${row["gap_from_lsn"]} to ${row["gap_to_lsn"]}, .* of WAL`));
  expect(shown.out).toContain("walhook accept-gap --yes --reason");
  expect(await world.bridgeRow()).toEqual(row);
  await world.expectAccepted(row, 2);
  for (const args of [["accept-gap"], ["accept-gap", "--yes"]]) {
    expect(await world.cli(...args)).toMatchObject({ code: 3, err: expect.stringContaining("a bridge reads") });
  }
  expect(await world.cli("check")).toMatchObject({ code: 0 });
});

describe("a gap is", () => {
  test("a slot that was dropped", async () => {
    await world.runAndStop(1);
    const { flush_lsn: left } = await world.bridgeRow();
    await world.look("select pg_drop_replication_slot(slot_name) from walhook.bridge");
    await world.app("insert into orders values (2)");
    const row = await world.expectGap("slot_missing");
    expect(row).toMatchObject({ gap_from_lsn: left, is_range: true, gap_needs_slot: true });
    await world.expectAccepted(row, 3);
    expect(world.delivered("order")).not.toContain("2");
  });

  test("a slot that was dropped and made anew under its name, at once", async () => {
    await world.runAndStop(1);
    await world.look(
      `select pg_drop_replication_slot(slot_name) from walhook.bridge;
       select pg_create_logical_replication_slot(slot_name, 'pgoutput') from walhook.bridge`,
    );
    await world.expectAccepted(await world.expectGap("slot_moved"), 2);
  });

  test("a slot that was advanced, to the byte", async () => {
    await world.runAndStop(1);
    const before = await world.bridgeRow();
    expect(before["stopped_lsn"]).toBe(before["flush_lsn"]);
    const [slot] = await world.look(
      "select confirmed_flush_lsn::text as lsn from pg_replication_slots s join walhook.bridge b on b.slot_name = s.slot_name",
    );
    expect(slot).toEqual({ lsn: before["stopped_lsn"] });
    await world.app("insert into orders values (2)");
    const [moved] = await world.look(
      "select (pg_replication_slot_advance(slot_name, pg_current_wal_lsn())).end_lsn::text as lsn from walhook.bridge",
    );
    const row = await world.expectGap("slot_moved");
    expect(row).toMatchObject({ gap_from_lsn: before["stopped_lsn"], gap_to_lsn: moved?.["lsn"] });
    await world.expectAccepted(row, 3);
  });

  test("a slot of another kind that has its name", async () => {
    await world.runAndStop(1);
    await world.look(
      `select pg_drop_replication_slot(slot_name) from walhook.bridge;
       select pg_create_physical_replication_slot(slot_name) from walhook.bridge`,
    );
    const row = await world.expectGap("slot_recreated");
    await world.expectAccepted(row, 2);
    await world.look("select pg_drop_replication_slot($1)", [row["slot_name"]]);
  });

  test("another cluster", async () => {
    await world.runAndStop(1);
    await world.look("update walhook.bridge set system_identifier = '7000000000000000000'");
    const row = await world.expectGap("other_system");
    expect(row).toMatchObject({ gap_to_lsn: null, remedy: expect.stringContaining("walhook uninstall") });
    await world.expectAccepted(row, 2);
  });

  test("a copy of the database", async () => {
    await world.runAndStop(1);
    const original = await world.bridgeRow();
    const copy = `${world.db.name}_copy`;
    const server = new pg.Client({ connectionString: world.db.url.replace(/\/[^/]*$/, "/postgres") });
    await server.connect();
    const url = world.db.url.replace(/\/[^/]*$/, `/${copy}`);
    const ofCopy = (...args: string[]): Promise<CliResult> => runCli(args, { DATABASE_URL: url });
    try {
      await server.query(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and pid <> pg_backend_pid()",
        [world.db.name],
      );
      await eventually(() => server.query(`create database "${copy}" template "${world.db.name}"`));
      expect(await ofCopy("run")).toMatchObject({
        code: GAP_EXIT_CODE,
        err: expect.stringContaining("code=other_database"),
      });
      expect(await ofCopy("accept-gap")).toMatchObject({
        code: GAP_EXIT_CODE,
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
      expect(rows).toEqual([{ database: world.db.name }]);
    } finally {
      await server.query("select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = $1", [
        copy,
      ]);
      await server.query(`drop database if exists "${copy}" with (force)`);
      await server.end();
    }
  });

  test("after a crash: farther than idling explains, which is 16 MiB", async () => {
    const bridge = await world.runAndDeliver(1);
    bridge.child.kill("SIGKILL");
    await bridge.ended;
    expect(await world.bridgeRow()).toMatchObject({ stopped_lsn: null });
    await world.look("create table bulk as select repeat('x', 1000) as x from generate_series(1, 20000)");
    await eventually(() =>
      world.look("select pg_replication_slot_advance(slot_name, pg_current_wal_lsn()) from walhook.bridge"),
    );
    await world.expectAccepted(await world.expectGap("slot_moved"), 2);
  });

  test("the bridge's own role may accept a gap that takes only a new slot", async () => {
    await world.runAndStop(1);
    await world.look("select pg_drop_replication_slot(slot_name) from walhook.bridge");
    const accepted = await runCli(["accept-gap", "--yes"], { DATABASE_URL: world.db.urlAs(world.roles.bridge) });
    expect(accepted).toMatchObject({ code: 0, err: "" });
    expect(await world.look("select accepted_by::text, reason from walhook.gap")).toEqual([
      { accepted_by: world.roles.bridge, reason: null },
    ]);
    await world.runAndDeliver(2);
  });
});

test("a gap is also a slot that is dropped as soon as its reader is gone", async () => {
  const bridge = await world.runAndDeliver(1);
  await eventually(async () => {
    await world.look(
      "select pg_terminate_backend(active_pid) from pg_replication_slots s join walhook.bridge b on b.slot_name = s.slot_name where active",
    );
    await world.look("select pg_drop_replication_slot(slot_name) from walhook.bridge");
    return true;
  });
  await world.expectAccepted(await world.expectGap("slot_missing", bridge.ended), 2);
});

test("a bridge that was frozen while a gap was accepted writes nothing into what goes on: it is fenced", async () => {
  const frozen = await world.runAndDeliver(1);
  frozen.child.kill("SIGSTOP");
  await eventually(async () => {
    await world.look(
      "select pg_terminate_backend(active_pid) from pg_replication_slots s join walhook.bridge b on b.slot_name = s.slot_name where active",
    );
    await world.look("select pg_drop_replication_slot(slot_name) from walhook.bridge");
    return true;
  });
  expect(await world.cli("accept-gap", "--yes")).toMatchObject({ code: 0, err: "" });
  const accepted = await world.bridgeRow();
  frozen.child.kill("SIGCONT");
  expect(await frozen.ended).toMatchObject({ code: 6 });
  expect(await world.bridgeRow()).toEqual(accepted);
  await world.runAndDeliver(2);
});

test("no gap is: a change of the configuration, a dropped table, a killed bridge", async () => {
  const bridge = await world.runAndDeliver(1);
  bridge.child.kill("SIGKILL");
  await bridge.ended;
  await world.app(
    "create table parts (id bigint primary key) partition by range (id); create table part1 partition of parts default",
  );
  await world.webhook("part", "parts", "after_insert");
  await world.admin("update walhook.webhook set webhook_docevent = 'after_insert' where name = 'order'");
  await world.admin("delete from walhook.webhook where name = 'invoice'");
  await world.app("drop table invoices; insert into parts values (1); insert into orders values (2)");
  await world.runAndStop(3);
  expect(world.delivered("part")).toEqual(["1"]);
  await world.app("drop table parts");
  await world.runAndStop(4);
  expect(await world.cli("accept-gap")).toMatchObject({ code: 0, out: expect.stringMatching(/^no gap/) });
  expect(await world.look("select from walhook.gap")).toEqual([]);
});

test("the slot may be taken over by a standby, where the server knows how", async () => {
  const [slot] = await world.look(
    "select to_jsonb(s) -> 'failover' as failover from pg_replication_slots s join walhook.bridge b on b.slot_name = s.slot_name",
  );
  expect(slot).toEqual({ failover: (await serverMajor(world.db)) >= 17 ? true : null });
});
