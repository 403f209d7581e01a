import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { serverMajor } from "../support/database.ts";
import { eventually } from "../support/eventually.ts";
import { notices, refusal, watchedDatabase, type WatchedDatabase } from "./watched-database.ts";

let watched: WatchedDatabase;

beforeAll(async () => {
  watched = await watchedDatabase("publishing");
});
afterAll(() => watched.drop());
afterEach(async () => {
  await watched.admin.query(
    "do $$ begin if to_regclass('walhook.webhook') is not null then delete from walhook.webhook; end if; end $$",
  );
});

/** Members of both publications but Walhook's own tables. */
async function published(): Promise<Record<string, unknown>> {
  const rows = await watched.rows(
    `select prrelid::regclass::text as relation, string_agg(pubname, ' ' order by pubname) as publication
     from pg_publication_rel r join pg_publication p on p.oid = r.prpubid join pg_class c on c.oid = r.prrelid
     where c.relnamespace <> 'walhook'::regnamespace group by 1 order by 1`,
  );
  return Object.fromEntries(rows.map((row) => [row["relation"], row["publication"]]));
}

async function identity(relation: string): Promise<unknown> {
  return (await watched.rows("select relreplident::text as i from pg_class where oid = $1::regclass", [relation]))[0]?.[
    "i"
  ];
}

describe("a table", () => {
  it("is published with what its webhooks need, and not at all without one", async () => {
    await watched.app.query("create table orders (id int primary key, status text)");
    await watched.webhook("inserts", "orders", "after_insert, on_truncate");
    expect(await published()).toEqual({ orders: "walhook_insert" });
    await watched.webhook("updates", "orders", "on_update");
    expect(await published()).toEqual({ orders: "walhook_all" });
    expect(await identity("orders")).toBe("d");
    await watched.webhook("deletes", "orders", "on_trash");
    expect(await identity("orders")).toBe("f");
    await watched.admin.query("update walhook.webhook set enabled = false");
    expect(await published()).toEqual({ orders: "walhook_all" });
    await watched.admin.query("delete from walhook.webhook where name = 'deletes'");
    expect(await identity("orders")).toBe("d");
    await watched.admin.query("delete from walhook.webhook where name = 'updates'");
    expect(await published()).toEqual({ orders: "walhook_insert" });
    await watched.admin.query("delete from walhook.webhook where name = 'inserts'");
    expect(await published()).toEqual({});
    expect(await watched.rows("select relation from walhook.replica_identity")).toEqual([]);
  });

  it("has REPLICA IDENTITY FULL only while a condition, template, header or docstatus needs old values", async () => {
    await watched.app.query(`
      create table plain (id int primary key, status text);
      create table doc (id int primary key, docstatus int)`);
    const heard = notices(watched.admin);
    await watched.webhook("w", "plain", "on_update", { webhook_json: '{"a": "the old value"}' });
    expect(await identity("plain")).toBe("d");
    await watched.admin.query(`update walhook.webhook set webhook_json = '{"a": {{#json}}old.status{{/json}}}'`);
    expect(await identity("plain")).toBe("f");
    expect(heard.join("\n")).toContain("puts the whole old row into the write-ahead log");
    await watched.admin.query("update walhook.webhook set webhook_json = null");
    expect(await identity("plain")).toBe("d");
    await watched.admin.query(
      "insert into walhook.webhook_header (webhook, key, value) values ('w', 'X-Was', '{{old.status}}')",
    );
    expect(await identity("plain")).toBe("f");
    await watched.admin.query("delete from walhook.webhook_header");
    expect(await identity("plain")).toBe("d");
    await watched.admin.query("update walhook.webhook set condition = 'old.status is distinct from doc.status'");
    expect(await identity("plain")).toBe("f");
    await watched.admin.query("update walhook.webhook set webhook_doctype = 'doc', condition = null");
    expect([await identity("plain"), await identity("doc")]).toEqual(["d", "f"]);
    expect(await published()).toEqual({ doc: "walhook_all" });
  });

  it("gets back the identity it had: none, another index, one of its own", async () => {
    await watched.app.query(`
      create table none (id int primary key); alter table none replica identity nothing;
      create table other (id int primary key, code text not null);
      create unique index other_code on other (code); alter table other replica identity using index other_code;
      create table own (id int primary key); alter table own replica identity full`);
    for (const table of ["none", "other", "own"]) {
      await watched.webhook(table, table, "on_update");
      await watched.webhook(`${table} again`, table, "on_update");
      expect(await identity(table)).toBe("f");
    }
    await watched.admin.query("delete from walhook.webhook");
    expect([await identity("none"), await identity("other"), await identity("own")]).toEqual(["n", "i", "f"]);
    expect(await watched.rows("select indisreplident from pg_index where indexrelid = 'other_code'::regclass")).toEqual(
      [{ indisreplident: true }],
    );
  });

  it("whose owner walhook_owner may not act for is refused with the GRANT", async () => {
    await watched.db.query(
      `create table foreign_owner (id int primary key); grant select on foreign_owner to "${watched.roles.admin}"`,
    );
    const { message, hint } = await refusal(watched.webhook("w", "foreign_owner", "after_insert"));
    expect(message).toContain("belongs to postgres");
    expect(hint).toBe("grant postgres to walhook_owner;");
  });

  it("with much toasted data gets FULL only where that is allowed", async () => {
    await watched.app.query(`
      create table big (id int primary key, body text);
      alter table big alter body set storage external;
      insert into big select n, repeat('x', 1000000) from generate_series(1, 10) n`);
    expect((await refusal(watched.webhook("w", "big", "on_trash"))).hint).toContain("allow_replica_identity_full");
    await watched.webhook("w", "big", "on_trash", { allow_replica_identity_full: true });
    expect(await identity("big")).toBe("f");
  });

  it("is refused FULL where that would make the application's UPDATEs fail", async () => {
    if ((await serverMajor(watched.db)) < 15) return;
    await watched.app.query("create table listed (id int primary key, a int, b int)");
    await watched.db.query("create publication theirs for table listed (id, a)");
    const { message } = await refusal(watched.webhook("w", "listed", "on_trash"));
    expect(message).toContain("publication theirs sends only some of its columns");
    await watched.webhook("w", "listed", "on_update");
    await watched.app.query("insert into listed values (1, 1, 1); update listed set b = 2");
    await watched.db.query("drop publication theirs");
    if ((await serverMajor(watched.db)) < 18) return;
    await watched.app.query(
      "create table computed (id int primary key, a int, b int generated always as (a + 1) virtual)",
    );
    expect((await refusal(watched.webhook("v", "computed", "on_trash"))).message).toContain("virtual generated column");
    // FULL already, by its owner's wish: unpublished, its statements go well.
    await watched.app.query("alter table computed replica identity full");
    expect((await refusal(watched.webhook("v", "computed", "on_update"))).message).toContain(
      "has REPLICA IDENTITY FULL",
    );
    await watched.webhook("v", "computed", "after_insert");
    await watched.app.query("insert into computed values (7, 1); update computed set a = 2; delete from computed");
    await watched.admin.query("delete from walhook.webhook");
    await watched.app.query("alter table computed replica identity default");
    await watched.webhook("v", "computed", "on_update");
    await watched.app.query(
      "insert into computed (id, a) values (1, 1); update computed set a = 2; delete from computed",
    );
  });
});

describe("two people who configure at once", () => {
  it("wait for each other: a table that one leaves and another watches stays published", async () => {
    await watched.app.query("create table shared (id int primary key)");
    await watched.webhook("first", "shared", "on_update");
    const second = await watched.db.connect(watched.roles.admin);
    await watched.admin.query("begin; delete from walhook.webhook");
    const added = second.query(
      `insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url)
       values ('second', 'shared', 'on_update', 'https://example.com')`,
    );
    await eventually(
      async () => (await watched.rows("select from pg_locks where locktype = 'advisory' and not granted")).length,
    );
    await watched.admin.query("commit");
    await added;
    expect(await published()).toEqual({ shared: "walhook_all" });
  });

  it("take nothing away in a transaction that cannot see what the others have committed", async () => {
    await watched.app.query("create table snapshot (id int primary key)");
    await watched.webhook("first", "snapshot", "on_trash");
    const other = await watched.db.connect(watched.roles.admin);
    await watched.admin.query("begin isolation level repeatable read; select from walhook.webhook");
    await other.query(
      `insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url)
       values ('second', 'snapshot', 'on_trash', 'https://example.com')`,
    );
    await watched.webhook("third", "snapshot", "after_insert");
    await watched.admin.query("commit");
    expect([await published(), await identity("snapshot")]).toEqual([{ snapshot: "walhook_all" }, "f"]);
  });
});

describe("a partitioned table", () => {
  it("has its identity on root and every leaf, new ones too, and gets it back", async () => {
    await watched.app.query(`
      create table parted (id int, day date, primary key (id, day)) partition by range (day);
      create table parted_1 partition of parted for values from ('2026-01-01') to ('2026-02-01');
      create table parted_2 partition of parted for values from ('2026-02-01') to ('2026-03-01');
      alter table parted_2 replica identity nothing`);
    // A row that moves is a DELETE and an INSERT, so DELETEs are needed too; parted_2 has no identity for them.
    await watched.webhook("w", "parted", "after_insert");
    expect(await published()).toEqual({ parted: "walhook_all" });
    expect([await identity("parted"), await identity("parted_1"), await identity("parted_2")]).toEqual(["d", "d", "f"]);
    await watched.webhook("v", "parted", "on_trash");
    await watched.app.query(
      "create table parted_3 partition of parted for values from ('2026-03-01') to ('2026-04-01')",
    );
    expect([await identity("parted"), await identity("parted_1"), await identity("parted_3")]).toEqual(["f", "f", "f"]);
    await watched.app.query("alter table parted_1 replica identity default");
    await watched.db.query("alter event trigger walhook_guard disable");
    await watched.app.query(
      "create table parted_4 partition of parted for values from ('2026-04-01') to ('2026-05-01')",
    );
    const ensure = await watched.db.queryAs(
      watched.roles.bridge,
      "select walhook.ensure_leaf_identity('parted_4'::regclass) as a, walhook.ensure_leaf_identity('parted_4'::regclass) as b",
    );
    expect(ensure.rows).toEqual([{ a: "set", b: "full already" }]);
    await watched.db.query("alter event trigger walhook_guard enable");
    await watched.admin.query("delete from walhook.webhook");
    const after = ["parted", "parted_1", "parted_2", "parted_3", "parted_4"].map(identity);
    expect(await Promise.all(after)).toEqual(["d", "d", "n", "d", "d"]);
  });

  it("without a key is watched only where new partitions are guarded", async () => {
    await watched.app.query(`
      create table loose (note text, day date) partition by range (day);
      create table loose_1 partition of loose for values from ('2026-01-01') to ('2026-02-01')`);
    await watched.webhook("w", "loose", "on_update");
    await watched.app.query(`
      create table loose_2 partition of loose for values from ('2026-02-01') to ('2026-03-01');
      create table loose_3 (note text, day date);
      alter table loose attach partition loose_3 for values from ('2026-03-01') to ('2026-04-01');
      insert into loose values ('a', '2026-01-01'), ('b', '2026-02-01'), ('c', '2026-03-01');
      update loose set note = 'x';
      update loose set day = '2026-01-02';
      delete from loose`);
    await watched.admin.query("delete from walhook.webhook");
    await watched.db.query("alter event trigger walhook_guard disable");
    const { message, hint } = await refusal(watched.webhook("w", "loose", "on_update"));
    await watched.webhook("v", "loose", "after_insert");
    await watched.db.query("alter event trigger walhook_guard enable");
    expect(message).toContain("has no primary key");
    expect(hint).toContain("Add a primary key");
  });
});

describe("the application", () => {
  it("never sees a statement fail before, while and after its tables are watched", async () => {
    await watched.app.query(`
      create table keyed (id int primary key, n int);
      create table keyless (id int, n int); create unique index on keyless (id)`);
    const statements = async (table: string): Promise<void> => {
      await watched.app.query(`insert into ${table} values (1, 1), (2, 2)`);
      if (table === "keyed" || table === "keyless") {
        await watched.app.query(`insert into ${table} values (1, 1) on conflict (id) do update set n = excluded.n + 1`);
      }
      await watched.app.query(`update ${table} set n = n + 1 where id = 1`);
      await watched.app.query(`delete from ${table}`);
      await watched.app.query(`truncate ${table}`);
    };
    for (const table of ["keyed", "keyless"]) {
      await statements(table);
      for (const events of ["after_insert", "on_update", "on_trash", "on_truncate", "on_change"]) {
        await watched.webhook(events, table, events);
        await statements(table);
      }
      for (const events of ["on_trash", "on_change", "on_update", "after_insert", "on_truncate"]) {
        await watched.admin.query("delete from walhook.webhook where name = $1", [events]);
        await statements(table);
      }
    }
    expect([await identity("keyed"), await identity("keyless")]).toEqual(["d", "d"]);
  });

  it("may drop and make its primary key anew, and update in between", async () => {
    await watched.app.query(
      "create table rekeyed (id int constraint rekeyed_pkey primary key, n int); insert into rekeyed values (1, 1)",
    );
    await watched.webhook("w", "rekeyed", "on_update");
    await watched.app.query(`
      alter table rekeyed drop constraint rekeyed_pkey;
      update rekeyed set id = id + 1;
      alter table rekeyed add primary key (id);
      update rekeyed set n = 2`);
    expect(await watched.rows("select id, n from rekeyed")).toEqual([{ id: 2, n: 2 }]);
  });

  it("keeps a table busy, and the webhook says so after a second; its deletion never waits for readers", async () => {
    await watched.app.query("create table busy (id int primary key)");
    const writer = await watched.db.connect(watched.roles.app);
    await writer.query("begin; insert into busy values (1)");
    const started = Date.now();
    const { message, hint } = await refusal(watched.webhook("w", "busy", "after_insert"));
    expect(Date.now() - started).toBeLessThan(5_000);
    expect(message).toContain("busy is in use");
    expect(hint).toContain("Try again");
    await writer.query("commit");
    await watched.webhook("w", "busy", "on_trash");
    await writer.query("begin; select from busy");
    const heard = notices(watched.admin);
    await watched.admin.query("delete from walhook.webhook");
    expect(heard.join("\n")).toContain("keeps REPLICA IDENTITY FULL for now");
    expect(await published()).toEqual({});
    await writer.query("commit");
    await watched.db.queryAs(watched.roles.bridge, "select walhook.settle_replica_identities()");
    expect(await identity("busy")).toBe("d");
  });

  it("waits at most ten seconds for a transaction that configures and falls idle", async () => {
    await watched.app.query("create table held (id int primary key)");
    await watched.admin.query("begin");
    await watched.webhook("w", "held", "after_insert");
    const { rows } = await watched.admin.query(
      "select current_setting('idle_in_transaction_session_timeout') as idle, current_setting('lock_timeout') as lock",
    );
    await watched.admin.query("rollback");
    expect(rows).toEqual([{ idle: "10s", lock: "0" }]);
  });
});

it("uninstalling gives every former identity back, as the owner of the schema", async () => {
  await watched.app.query("create table leaving (id int primary key)");
  await watched.webhook("w", "leaving", "on_trash");
  expect(await identity("leaving")).toBe("f");
  await watched.db.query(`begin; set local role walhook_owner; select walhook.restore_replica_identities();
    drop publication walhook_all, walhook_insert; drop schema walhook, walhook_condition cascade; commit`);
  expect(await identity("leaving")).toBe("d");
  expect(await watched.rows("select evtname from pg_event_trigger where evtname = 'walhook_guard'")).toEqual([]);
});
