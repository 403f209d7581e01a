import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { serverMajor } from "../support/database.ts";
import { eventually } from "../support/eventually.ts";
import { runCli } from "../support/walhook-cli.ts";
import { startGapWorld, type GapWorld } from "./gap-world.ts";

// Each test starts several processes.
vi.setConfig({ testTimeout: 90_000 });

let world: GapWorld;
beforeEach(async () => {
  world = await startGapWorld();
});
afterEach(() => world.drop());

test("every table of Walhook's own that is published is on record, so that it is missed when it is taken out", async () => {
  const own = await world.look(
    `select r.prrelid::regclass::text as name, m.member = r.oid as is_recorded
     from pg_publication_rel r
     join pg_publication p on p.oid = r.prpubid and p.pubname = 'walhook_all'
     join pg_class c on c.oid = r.prrelid and c.relnamespace = 'walhook'::regnamespace
     left join walhook.published m on m.relation = r.prrelid and m.publication = p.pubname order by 1`,
  );
  expect(own.length).toBeGreaterThanOrEqual(5);
  for (const table of own) expect(table).toMatchObject({ is_recorded: true });
});

describe("while the bridge is stopped, a gap is", () => {
  test("a publication that was dropped; the other tables lose nothing where the slot can go on", async () => {
    await world.runAndStop(1);
    await world.look("drop publication walhook_insert");
    await world.app("insert into orders values (2)");
    const row = await world.expectGap("publication_missing");
    const isTolerant = (await serverMajor(world.db)) >= 18;
    expect(row).toMatchObject({ gap_needs_slot: !isTolerant });
    await world.expectAccepted(row, 3);
    expect(world.delivered("order").includes("2")).toBe(isTolerant);
  });

  test("the publication of the configuration itself: what was configured meanwhile is in force after it", async () => {
    await world.webhook("paid", "invoices", "after_insert");
    world.receiver.answer(({ path }) => ({ status: path === "/paid" ? 503 : 200 }));
    const bridge = await world.runAndDeliver(1);
    await world.app("insert into invoices values (1)");
    await eventually(
      async () => (await world.look("select from walhook.webhook_queue where webhook = 'paid'")).length === 1,
    );
    bridge.child.kill("SIGTERM");
    expect(await bridge.ended).toMatchObject({ code: 0 });

    await world.look("drop publication walhook_all");
    await world.admin("delete from walhook.webhook where name = 'paid'");
    await world.admin(`update walhook.webhook set webhook_json = '{"data": {"name": "new"}}' where name = 'invoice'`);
    const row = await world.expectGap("publication_missing");
    expect(row).toMatchObject({ gap_needs_slot: true });
    await world.expectAccepted(row, 2);
    await world.app("insert into invoices values (2)");
    await world.settled();
    expect(world.delivered("invoice")).toEqual(["1", "new"]);
    // Its deletion was in the gap.
    expect(new Set(world.delivered("paid"))).toEqual(new Set(["1"]));
    const paid = await world.look(
      "select outcome, docname from walhook.webhook_request_log where webhook = 'paid' and outcome <> 'retry'",
    );
    expect(paid).toEqual([{ outcome: "cancelled", docname: "1" }]);
  });

  test("a table that was taken out of its publication, and put back; the other tables lose nothing", async () => {
    await world.runAndStop(1);
    await world.look("alter publication walhook_all drop table orders");
    await world.app("insert into orders values (2); insert into invoices values (1)");
    await world.look("alter publication walhook_all add table orders");
    const row = await world.expectGap("table_unpublished");
    expect(row).toMatchObject({ gap_needs_slot: false, last_error: expect.stringContaining("orders") });
    await world.expectAccepted(row, 3);
    expect(world.delivered("order")).not.toContain("2");
    expect(world.delivered("invoice")).toEqual(["1"]);
  });

  test("a table that was taken out is not covered up by a webhook that publishes it again", async () => {
    await world.runAndStop(1);
    await world.look("alter publication walhook_all drop table orders");
    await world.webhook("second", "orders", "on_change");
    const row = await world.expectGap("table_unpublished");
    await world.expectAccepted(row, 2);
  });

  test("publications that no longer publish all that they must", async () => {
    await world.runAndStop(1);
    await world.look("alter publication walhook_all set (publish = 'insert, update')");
    await world.look("alter publication walhook_insert set (publish_via_partition_root = false)");
    const row = await world.expectGap("publication_changed");
    expect(row["last_error"]).toContain("walhook_all no longer publishes all that it must (no TRUNCATE, no DELETE)");
    expect(row["last_error"]).toContain(
      "walhook_insert no longer publishes all that it must (partitions not as their root)",
    );
    await world.expectAccepted(row, 2);
  });

  test("a row filter", async () => {
    if ((await serverMajor(world.db)) < 15) return;
    await world.runAndStop(1);
    await world.look(
      `alter publication walhook_all drop table orders;
       alter publication walhook_all add table orders where (id > 10)`,
    );
    await world.expectAccepted(await world.expectGap("table_unpublished"), 2);
  });

  test("a table that has become one that cannot be published: accepting says why, until its webhooks are gone", async () => {
    if ((await serverMajor(world.db)) < 18) return;
    await world.app("create table notes (id int, body text)");
    await world.webhook("note", "notes", "on_trash");
    await world.runAndStop(1);
    await world.app("alter table notes add column size int generated always as (length(body)) virtual");
    const row = await world.expectGap("table_unpublished");
    expect(row["last_error"]).toContain("notes");
    expect(await world.cli("accept-gap", "--yes")).toMatchObject({
      code: 3,
      err: expect.stringContaining("it has a virtual generated column"),
    });
    await world.admin("delete from walhook.webhook where name = 'note'");
    await world.expectAccepted(row, 2);
  });

  test("a role that may not repair a publication is told who may, and the gap stays open", async () => {
    await world.runAndStop(1);
    await world.look("alter publication walhook_all drop table orders");
    const row = await world.expectGap("table_unpublished");
    const refused = await runCli(["accept-gap", "--yes"], { DATABASE_URL: world.db.urlAs(world.roles.bridge) });
    expect(refused).toMatchObject({ code: 3, err: expect.stringContaining("installed Walhook") });
    expect(await world.bridgeRow()).toMatchObject({ state: "gap", gap_kind: "table_unpublished" });
    await world.expectAccepted({ ...row, ...(await world.bridgeRow()) }, 2);
  });
});

describe("while the bridge runs, it stops within seconds at", () => {
  test("a publication that is dropped", async () => {
    const bridge = await world.runAndDeliver(1);
    await world.look("drop publication walhook_all");
    const row = await world.expectGap("publication_missing", bridge.ended);
    expect(row).toMatchObject({ is_range: true, gap_needs_slot: true });
    await world.expectAccepted(row, 2);
  });

  test("a table that is taken out of its publication; what it had not read before is still sent", async () => {
    const bridge = await world.runAndDeliver(1);
    const [before] = await world.look("select pg_current_wal_lsn() as lsn");
    await world.look("alter publication walhook_all drop table orders");
    await world.app("insert into orders values (2); insert into invoices values (1)");
    const row = await world.expectGap("table_unpublished", bridge.ended);
    expect(row).toMatchObject({ gap_needs_slot: false });
    const [place] = await world.look("select $1::pg_lsn <= $2::pg_lsn as is_before", [
      row["gap_from_lsn"],
      before?.["lsn"],
    ]);
    expect(place).toEqual({ is_before: true });
    await world.app("insert into invoices values (2)");
    await world.expectAccepted(row, 3);
    expect(world.delivered("order")).not.toContain("2");
    expect(new Set(world.delivered("invoice"))).toEqual(new Set(["1", "2"]));
  });

  test("a publication that is changed", async () => {
    const bridge = await world.runAndDeliver(1);
    await world.look("alter publication walhook_insert set (publish = 'truncate')");
    const row = await world.expectGap("publication_changed", bridge.ended);
    expect(row).toMatchObject({ gap_needs_slot: false });
    await world.expectAccepted(row, 2);
  });
});
