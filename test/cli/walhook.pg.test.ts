import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import { eventually } from "../support/eventually.ts";
import { runCli, startCli, type CliProcess } from "../support/walhook-cli.ts";

describe("without a database", () => {
  test("--version and --help end well, what is unknown ends with 2 and a suggestion", async () => {
    expect(await runCli(["--version"])).toMatchObject({ code: 0, out: expect.stringMatching(/^\d+\.\d+\.\d+/) });
    expect(await runCli([])).toMatchObject({ code: 0, out: expect.stringContaining("Usage: walhook <command>") });
    expect(await runCli(["rnu"])).toMatchObject({ code: 2, err: expect.stringContaining("Did you mean run?") });
    expect(await runCli(["run", "--gracems", "1"], { DATABASE_URL: "postgresql://h/d" })).toMatchObject({
      code: 2,
      err: expect.stringContaining("Did you mean --grace-ms?"),
    });
    expect(await runCli(["check"])).toMatchObject({ code: 2, err: expect.stringContaining("Set DATABASE_URL") });
  });

  test("a database that is down is exit code 4, and no password is shown", async () => {
    for (const command of ["install", "check", "health", "schedule", "uninstall"]) {
      const result = await runCli([command], { DATABASE_URL: "postgresql://me:secret@127.0.0.1:1/shop" });
      expect(result.code).toBe(4);
      expect(result.err).toContain("postgresql://me@127.0.0.1:1/shop");
      expect(result.err).toContain("Start PostgreSQL");
      expect(result.err + result.out).not.toContain("secret");
    }
  });

  test("run waits for a database that is down, and still stops at once when told to", async () => {
    const run = startCli(["run"], { DATABASE_URL: "postgresql://me@127.0.0.1:1/shop" });
    await run.line(/warn {2}waiting code=database_down/);
    run.child.kill("SIGTERM");
    expect(await run.ended).toMatchObject({ code: 0 });
  });
});

describe("on a database", () => {
  let database: TestDatabase;
  let env: Readonly<Record<string, string>>;
  const roles = Object.fromEntries(
    ["app", "admin", "bridge"].map((name) => [name, `cli_${name}_${randomBytes(3).toString("hex")}`]),
  ) as Readonly<Record<"app" | "admin" | "bridge", string>>;

  beforeAll(async () => {
    database = await createDatabase("cli");
    env = { DATABASE_URL: database.url };
    await database.query(
      `create role ${roles.app} login; create role ${roles.admin} login; create role ${roles.bridge} login replication;
       create table orders (id integer primary key, total numeric); alter table orders owner to ${roles.app};
       grant select on orders to ${roles.admin}`,
    );
  });
  afterAll(async () => {
    const url = database.url.replace(/\/[^/]*$/, "/postgres");
    await database.drop();
    const { default: pg } = await import("pg");
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    await client.query(`drop role if exists ${roles.app}, ${roles.admin}, ${roles.bridge}`);
    await client.end();
  });

  const query = async (sql: string): Promise<readonly Record<string, unknown>[]> =>
    (await database.query(sql)).rows as Record<string, unknown>[];

  test("before install, everything else says so", async () => {
    for (const command of ["run", "health", "schedule"]) {
      const result = await runCli([command], env);
      expect(result).toMatchObject({ code: 3, err: expect.stringContaining("walhook install") });
    }
    const check = await runCli(["check"], env);
    expect(check).toMatchObject({ code: 1, out: expect.stringContaining("schema walhook: is not installed") });
    expect(await runCli(["uninstall"], env)).toMatchObject({ code: 0, out: expect.stringContaining("not installed") });
  });

  test("install says what it made, that the slot retains WAL, and what comes next; again, it changes nothing", async () => {
    const first = await runCli(["install"], env);
    expect(first.err).toBe("");
    expect(first.code).toBe(0);
    expect(first.out).toMatch(/applied 010 roles and schemas/);
    expect(first.out).toMatch(/replication slot walhook_\d+_1 made at [0-9A-F]+\/[0-9A-F]+, 0 webhooks in force/);
    expect(first.out).toMatch(/retains WAL from now on, without bound \(max_slot_wal_keep_size is -1\)/);
    expect(first.out).toMatch(/next: insert into walhook.webhook/);
    const before = await query("select * from walhook.bridge");
    const second = await runCli(["install"], env);
    expect(second.code).toBe(0);
    expect(second.out).toMatch(/the schema is up to date\nreplication slot walhook_\d+_1 is there\n/);
    expect(await query("select * from walhook.bridge")).toEqual(before);
  });

  test("health is 1 while nobody reads the slot", async () => {
    expect(await runCli(["health"], env)).toMatchObject({
      code: 1,
      out: expect.stringMatching(/^new, slot .* not read/),
    });
  });

  test("run delivers as three roles that are no superusers, health is 0, SIGTERM ends it with 0", async () => {
    await query(
      `grant ${roles.app} to walhook_owner; grant walhook_admin to ${roles.admin}; grant walhook_bridge to ${roles.bridge}`,
    );
    const bodies: string[] = [];
    const server = createServer((request, response) => {
      let body = "";
      request.on("data", (part: Buffer) => (body += part.toString()));
      request.on("end", () => {
        bodies.push(body);
        response.writeHead(204).end();
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    let run: CliProcess | null = null;
    try {
      await database.queryAs(
        roles.admin,
        `insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url)
         values ('new-order', 'orders', 'after_insert, on_trash', $1)`,
        [url],
      );
      run = startCli(["run", "--log-format", "json"], { DATABASE_URL: database.urlAs(roles.bridge) });
      await run.line(/"message":"running"/);
      await database.queryAs(roles.app, "insert into orders values (1, 9.50)");
      await eventually(() => bodies.length === 1);
      expect(JSON.parse(bodies[0] ?? "")).toMatchObject({ data: { name: "1", doc: { id: 1 } } });
      expect(await runCli(["health"], env)).toMatchObject({ code: 0, out: expect.stringMatching(/^running/) });
      const busy = await runCli(["uninstall", "--drop-log"], env);
      expect(busy).toMatchObject({ code: 3, err: expect.stringContaining("Stop `walhook run` first") });

      const check = await runCli(["check"], { DATABASE_URL: database.urlAs(roles.bridge) });
      expect(check.err).toBe("");
      expect(check.out).toContain(`ok       role ${roles.bridge}: REPLICATION, member of walhook_bridge`);
      expect(check.out).toContain("ok       table orders: published for new-order");
      expect(check.out).toContain(`ok       webhook new-order: ${new URL(url).host} may be reached`);
      expect(check.code).toBe(0);

      await database.queryAs(roles.admin, "update walhook.webhook set retry_schedule = '{1 s, 1 min}'");
      const schedule = await runCli(["schedule"], { DATABASE_URL: database.urlAs(roles.bridge) });
      expect(schedule).toMatchObject({ code: 0, err: "" });
      expect(schedule.out).toMatch(
        /^default\n {2}attempt .*\n(.*\n)+\nnew-order\n.*\n {2}1 .*\n {2}2 +1 s +1 s 200 ms +1 s\n {2}3 +1 min 1 s /,
      );

      run.child.kill("SIGTERM");
      const ended = await run.ended;
      expect(ended.code).toBe(0);
      for (const line of run.lines) expect(JSON.parse(line)).toHaveProperty("level");
      expect(ended.err).toContain('"message":"stopped"');
      expect(await query("select outcome from walhook.webhook_request_log")).toEqual([{ outcome: "delivered" }]);
    } finally {
      run?.child.kill("SIGKILL");
      server.close();
      server.closeAllConnections();
    }
  });

  test("check finds what was broken, each with its remedy, and ends with 1", async () => {
    await query("alter publication walhook_all drop table orders");
    await query(`revoke select on orders from ${roles.admin}`);
    const check = await runCli(["check"], env);
    expect(check.code).toBe(1);
    expect(check.out).toContain("problem  table orders: is not in publication walhook_all");
    expect(check.out).toContain(
      "problem  gap: table_unpublished: table public.orders was taken out of publication walhook_all",
    );
    expect(check.out).toMatch(/problem {2}webhook new-order: is held: /);
    expect(check.out).toMatch(/warning {2}slot .* is read by nobody/);
    await query(`alter publication walhook_all add table orders; grant select on orders to ${roles.admin}`);
    // Put back, but what was committed meanwhile is not in the stream.
    expect(await runCli(["check"], env)).toMatchObject({ code: 1, out: expect.stringContaining("problem  gap") });
    expect(await runCli(["accept-gap", "--yes"], env)).toMatchObject({ code: 0, err: "" });
    expect(await runCli(["check"], env)).toMatchObject({ code: 0 });
  });

  test("check says of each enabled webhook whether its requests would leave, by the bridge's own options", async () => {
    const guarded = await runCli(["check", "--address-mode", "public"], env);
    expect(guarded.code).toBe(1);
    expect(guarded.out).toMatch(
      /problem {2}webhook new-order: its requests are blocked: 127\.0\.0\.1:\d+ is .*WALHOOK_ADDRESS_MODE=public/,
    );
    await query(
      `update walhook.webhook set tls_profile = 'partner', enable_security = true, webhook_secret = 'env:WALHOOK_SECRET_A'`,
    );
    const missing = await runCli(["check"], env);
    expect(missing.code).toBe(1);
    expect(missing.out).toContain(
      'problem  webhook new-order: tls_profile "partner": the operator has set no WALHOOK_TLS_DIRECTORY',
    );
    expect(missing.out).toContain("problem  webhook new-order: it is held: its secret env:WALHOOK_SECRET_A is not set");
    await query("update walhook.webhook set enabled = false");
    expect(await runCli(["check"], env)).toMatchObject({ code: 0 });
    await query(
      "update walhook.webhook set enabled = true, tls_profile = null, enable_security = false, webhook_secret = null",
    );
    expect(await runCli(["check"], env)).toMatchObject({ code: 0 });
    const wrong = await runCli(["check", "--allow-addresses", "nonsense/99"], env);
    expect(wrong).toMatchObject({ code: 2, err: expect.stringContaining("WALHOOK_ALLOW_ADDRESSES") });
  });

  test("a dropped table is shown, with the statement that moves its webhooks where the name exists again", async () => {
    await query("begin; alter table orders rename to old_orders; create table orders (id integer primary key); commit");
    await query("create table gone as select 1");
    await query("drop table old_orders cascade");
    const check = await runCli(["check"], env);
    expect(check.code).toBe(1);
    expect(check.out).toContain("update walhook.webhook set webhook_doctype = 'orders' where name in ('new-order');");
    await query(
      `alter table orders owner to ${roles.app}; grant select on orders to ${roles.admin};
       update walhook.webhook set webhook_doctype = 'orders' where name in ('new-order')`,
    );
    expect((await runCli(["check"], env)).out).toContain("ok       table orders: published for new-order");
  });

  test("a slot that was dropped is a gap: install makes none, run and check say so, a person decides", async () => {
    await query("select pg_drop_replication_slot(slot_name) from walhook.bridge");
    const install = await runCli(["install"], env);
    expect(install).toMatchObject({ code: 3, out: expect.stringContaining("is gone") });
    const run = await runCli(["run"], env);
    expect(run).toMatchObject({ code: 5, err: expect.stringContaining("does not exist any more (a gap from ") });
    expect(await runCli(["check"], env)).toMatchObject({ code: 1, out: expect.stringContaining("problem  gap") });
    expect(await runCli(["health"], env)).toMatchObject({
      code: 1,
      out: expect.stringMatching(/^gap, slot .*walhook accept-gap/),
    });
    const shown = await runCli(["accept-gap"], env);
    expect(shown).toMatchObject({ code: 5, out: expect.stringMatching(/^gap {7}slot_missing, found 2/) });
    expect(shown.out).toContain("walhook accept-gap --yes --reason");
    const accepted = await runCli(["accept-gap", "--yes", "--reason", "it was me"], env);
    expect(accepted).toMatchObject({
      code: 0,
      out: expect.stringMatching(/walhook_\d+_2 made at .*, 1 webhooks in force/),
    });
    expect(await query("select kind, reason, accepted_by from walhook.gap where reason is not null")).toEqual([
      { kind: "slot_missing", reason: "it was me", accepted_by: "postgres" },
    ]);
    expect(await runCli(["accept-gap"], env)).toMatchObject({ code: 0, out: expect.stringMatching(/^no gap/) });
  });

  test("a dropped publication is a gap, too; accepting it makes it anew with its tables", async () => {
    await query("drop publication walhook_all");
    const refused = await runCli(["install"], env);
    expect(refused).toMatchObject({ code: 3, err: expect.stringContaining("publication walhook_all does not exist") });
    expect(await runCli(["run"], env)).toMatchObject({ code: 5, err: expect.stringContaining("walhook_all") });
    const again = await runCli(["accept-gap", "--yes"], env);
    expect(again).toMatchObject({ code: 0, out: expect.stringMatching(/walhook_\d+_3 made at/) });
    expect((await runCli(["check"], env)).out).toContain("ok       table orders: published for new-order");
  });

  test("uninstall keeps a log with rows unless told otherwise, then leaves nothing but the roles", async () => {
    const refused = await runCli(["uninstall"], env);
    expect(refused).toMatchObject({ code: 3, err: expect.stringContaining("--drop-log") });
    const [, copy = ""] = /\\copy (\(.*\)) to 'log.csv' csv header/.exec(refused.err) ?? [];
    await query(`copy ${copy} to stdout csv header`);
    expect(await query("select count(*)::integer as n from walhook.webhook")).toEqual([{ n: 1 }]);
    expect(await query("select relreplident from pg_class where oid = 'orders'::regclass")).toEqual([
      { relreplident: "f" },
    ]);

    const done = await runCli(["uninstall", "--drop-log"], env);
    expect(done).toMatchObject({ code: 0, err: "" });
    expect(done.out).toMatch(/roles left, other databases may use them: .*walhook_owner/);
    expect(await query("select relreplident from pg_class where oid = 'orders'::regclass")).toEqual([
      { relreplident: "d" },
    ]);
    expect(await query("select nspname from pg_namespace where nspname ^@ 'walhook'")).toEqual([]);
    expect(await query("select pubname from pg_publication")).toEqual([]);
    expect(await query(`select slot_name from pg_replication_slots where database = current_database()`)).toEqual([]);
    await query("insert into orders values (7); update orders set id = 8; delete from orders");
  });
});
