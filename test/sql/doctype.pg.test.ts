import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { serverMajor } from "../support/database.ts";
import { refusal, watchedDatabase, type WatchedDatabase } from "./watched-database.ts";

const EVENTS = [
  "after_insert",
  "on_update",
  "on_change",
  "on_trash",
  "on_submit",
  "on_cancel",
  "on_update_after_submit",
  "on_truncate",
];

interface Problem {
  readonly events: readonly string[];
  readonly is_refused: boolean;
  readonly problem: string;
  readonly remedy: string | null;
}

let watched: WatchedDatabase;
const stranger = `owner_${randomBytes(4).toString("hex")}`;

beforeAll(async () => {
  watched = await watchedDatabase("doctype");
  await watched.db.query(`create role ${stranger}; grant create, usage on schema public to ${stranger}`);
  await watched.db.query(`create schema shop authorization "${watched.roles.app}"`);
  await watched.app.query(`
    create table orders (id int primary key, status text);
    create table invoices (id int primary key, docstatus smallint);
    create table keyless (note text);
    create table lines (order_id int, no int, primary key (no, order_id));
    create unlogged table unlogged_orders (id int primary key);
    create table deferred (id int primary key deferrable);
    create table events (id int, day date, primary key (id, day)) partition by range (day);
    create table events_2026 partition of events for values from ('2026-01-01') to ('2027-01-01');
    create table key_less_events (id int, day date) partition by range (day);
    create table "Sales Order" (id int primary key, "Grand Total" numeric);
    create table hidden (id int primary key);
    create table guarded (id int primary key);
    create table large (id int primary key, photo text);
    alter table guarded enable row level security;
    alter table large alter photo set storage external;
    insert into large select n, repeat(chr(65 + n % 26), 1000000) from generate_series(1, 9) n;
    revoke select on hidden from "${watched.roles.admin}";
    create view order_view as select * from orders;
    create temporary table fleeting (id int);
    create table shop.carts (id int primary key);
    grant usage on schema shop to "${watched.roles.admin}";
  `);
  await watched.app.query(`create table foreign_owned (id int primary key)`);
  await watched.db.query(`alter table foreign_owned owner to ${stranger}`);
  if ((await serverMajor(watched.db)) >= 18) {
    await watched.app.query(
      "create table virtual (id int primary key, a int, b int generated always as (a + 1) virtual)",
    );
    await watched.app.query("create table virtual_full (id int primary key, a int)");
    await watched.app.query(
      "alter table virtual_full replica identity full, add b int generated always as (a + 1) virtual",
    );
  }
});
afterAll(async () => {
  await watched.db.query(`drop owned by ${stranger}; drop role ${stranger}`);
  await watched.drop();
});

async function doctypes(): Promise<readonly Record<string, unknown>[]> {
  return (await watched.admin.query("select * from walhook.doctype order by doctype")).rows as Record<
    string,
    unknown
  >[];
}

async function doctype(name: string): Promise<Record<string, unknown>> {
  const [row] = (await watched.admin.query("select * from walhook.doctype where doctype = $1", [name])).rows as Record<
    string,
    unknown
  >[];
  return row ?? {};
}

describe("walhook.doctype", () => {
  it("has every table once: no partition, view, temporary or system table, and none of Walhook's own", async () => {
    const names = (await doctypes()).map((row) => row["doctype"]);
    expect(new Set(names).size).toBe(names.length);
    expect(names).toEqual(expect.arrayContaining(["orders", "events", "shop.carts", "Sales Order", "unlogged_orders"]));
    for (const other of ["events_2026", "order_view", "fleeting", "pg_class", "walhook.webhook"]) {
      expect(names).not.toContain(other);
    }
  });

  it("tells key, identity, docstatus, size and what is published", async () => {
    expect(await doctype("lines")).toMatchObject({ key: ["no", "order_id"], has_docstatus: false });
    expect(await doctype("keyless")).toMatchObject({ key: null, kind: "table", owner: watched.roles.app });
    expect(await doctype("invoices")).toMatchObject({ has_docstatus: true });
    expect(await doctype("events")).toMatchObject({ kind: "partitioned table" });
    expect(Number((await doctype("large"))["total_bytes"])).toBeGreaterThan(8_000_000);
    expect(await doctype("orders")).toMatchObject({ replica_identity: "default", published: null, webhooks: "0" });
    await watched.webhook("o", "orders", "after_insert");
    expect(await doctype("orders")).toMatchObject({ published: "inserts", webhooks: "1" });
    await watched.webhook("p", "orders", "on_trash");
    expect(await doctype("orders")).toMatchObject({
      published: "all changes",
      replica_identity: "full",
      webhooks: "2",
    });
    await watched.admin.query("delete from walhook.webhook");
  });

  it("names for each obstacle the events and the remedy", async () => {
    const problems = (await doctype("foreign_owned"))["problems"] as readonly Problem[];
    expect(problems[0]).toMatchObject({
      events: EVENTS,
      is_refused: true,
      remedy: `grant ${stranger} to walhook_owner;`,
    });
    const ofKeyless = (await doctype("keyless"))["problems"] as readonly Problem[];
    expect(ofKeyless.map(({ is_refused, problem }) => [is_refused, problem])).toContainEqual([
      false,
      "it has no primary key: its documents have no name, and the order of their deliveries is not kept",
    ]);
    const ofHidden = (await doctype("hidden"))["problems"] as readonly Problem[];
    expect(ofHidden[0]?.remedy).toBe(`grant select on public.hidden to ${watched.roles.admin};`);
  });

  it.each(["enable", "disable"])("says of each event what an INSERT would say, with the guard %sd", async (guard) => {
    await watched.db.query(`alter event trigger walhook_guard ${guard}`);
    const rows = await doctypes();
    expect(rows.length).toBeGreaterThan(12);
    const said: [unknown, string, boolean][] = [];
    const done: typeof said = [];
    for (const row of rows) {
      for (const event of EVENTS) {
        said.push([row["doctype"], event, (row["events"] as string[]).includes(event)]);
        await watched.admin.query("begin");
        const statement = watched.webhook("w", String(row["webhook_doctype"]), event);
        const isTaken = await statement.then(
          () => true,
          () => false,
        );
        await watched.admin.query("rollback");
        done.push([row["doctype"], event, isTaken]);
      }
    }
    expect(said).toEqual(done);
    await watched.db.query("alter event trigger walhook_guard enable");
  });

  it("says it as well of tables that are watched already", async () => {
    await watched.webhook("all", "invoices", "on_submit");
    await watched.db.query(`alter table invoices owner to ${stranger}`);
    await watched.db.query(`grant select on invoices to "${watched.roles.admin}"`);
    expect((await doctype("invoices"))["events"]).toEqual(EVENTS);
    await watched.db.query(`alter table invoices owner to "${watched.roles.app}"`);
    await watched.admin.query("delete from walhook.webhook");
  });

  it("shows who watches, and nobody else, what there is", async () => {
    const [monitor, nobody] = [`m_${randomBytes(4).toString("hex")}`, `n_${randomBytes(4).toString("hex")}`];
    await watched.db.query(`create role ${monitor} login in role walhook_monitor; create role ${nobody} login`);
    const { rows } = await watched.db.queryAs(
      monitor,
      "select doctype, events from walhook.doctype where doctype = 'orders'",
    );
    expect(rows).toEqual([{ doctype: "orders", events: [] }]);
    expect((await refusal(watched.db.queryAs(nobody, "select from walhook.doctype"))).code).toBe("42501");
    await watched.db.query(`drop role ${monitor}; drop role ${nobody}`);
  });
});
