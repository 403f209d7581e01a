import { execFile, spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import pg from "pg";
import { describe, expect, it } from "vitest";
import { createBridge, type Bridge } from "../../src/bridge.ts";
import { main } from "../../src/cli/main.ts";
import { createDatabase, serverMajor } from "../support/database.ts";
import { eventually } from "../support/eventually.ts";
import { startSystem } from "../support/system.ts";

const run = promisify(execFile);
const tool = Number(/ (\d+)/.exec(spawnSync("pg_dump", ["--version"]).stdout?.toString() ?? "")?.[1] ?? 0);
const probe = await createDatabase("dump_probe");
const server = await serverMajor(probe);
await probe.drop();
// pg_dump takes servers of its own version and older ones.
const why =
  tool === 0
    ? "skipped: pg_dump is not installed here"
    : tool < server
      ? `skipped: pg_dump ${tool} refuses a server of version ${server}`
      : `pg_dump ${tool}`;

describe.skipIf(tool < server)(`a copy by pg_dump and pg_restore (${why})`, () => {
  it(
    "has all that the original has, does not send by itself, and does where somebody wants that",
    { timeout: 60_000 },
    async () => {
      await using system = await startSystem("dump");
      const folder = await mkdtemp(join(tmpdir(), "walhook-dump-"));
      const name = `${system.db.name}_copy`;
      let mine: Bridge | undefined;
      const url = system.db.url.replace(/\/[^/]*$/, `/${name}`);
      const copy = new pg.Client({ connectionString: url });
      copy.on("error", () => {});
      await system.app("create table orders (id int primary key, status text)");
      await system.webhook("paid", "orders", "after_insert, on_trash", {
        condition: "doc.status = 'Paid'",
        enable_security: "true",
        webhook_secret: "hush",
      });
      await system.webhook("down", "orders", "after_insert");
      await system.admin(
        "insert into walhook.webhook_header (webhook, key, value) values ('paid', 'X-A', '{{doc.status}}')",
      );
      system.receiver.answer(({ path }) => (path === "/down" ? { status: 500 } : {}));
      const bridge = await system.startBridge();
      await system.app("insert into orders values (1, 'Paid')");
      await eventually(
        async () => (await system.look("select from walhook.webhook_queue where attempts > 0")).length === 1,
      );
      await system.caughtUp();
      await bridge.stop();
      try {
        const file = join(folder, "dump");
        await run("pg_dump", ["-Fc", "-f", file, system.db.url]);
        await system.look(`create database "${name}"`);
        await run("pg_restore", ["--exit-on-error", "-d", url, file]);
        await copy.connect();
        const tables = (await system.look(
          "select c.oid::regclass::text as name from pg_class c where relnamespace = 'walhook'::regnamespace and relkind = 'r' and relpersistence = 'p' order by 1",
        )) as readonly { name: string }[];
        for (const { name: table } of tables) {
          const count = `select count(*)::int as n from ${table}`;
          expect([table, (await copy.query(count)).rows]).toEqual([table, await system.look(count)]);
        }
        const configuration = "select to_jsonb(w) - '{doctype_oid}'::text[] as row from walhook.webhook w order by id";
        expect((await copy.query(configuration)).rows).toEqual(await system.look(configuration));
        const rights =
          "select relname, coalesce(relacl, acldefault('r', relowner))::text as relacl, relowner::regrole::text as owner from pg_class where relnamespace = 'walhook'::regnamespace and relkind in ('r', 'v', 'p') and relname !~ '[0-9]{8}' order by 1";
        expect((await copy.query(rights)).rows).toEqual(await system.look(rights));

        const before = system.receiver.requests.length;
        const started = createBridge({ databaseUrl: url });
        await expect(started.start().then(() => started.done)).rejects.toMatchObject({ code: "other_database" });
        await copy.query("insert into orders values (2, 'Paid')");

        expect((await copy.query("select walhook.relink() as n")).rows).toEqual([{ n: 2 }]);
        expect(
          (
            await copy.query(
              "select name, author::text from walhook.webhook where not walhook.condition_is_stale(condition_function) or condition is null order by 1",
            )
          ).rows,
        ).toEqual([
          { name: "down", author: system.roles.admin },
          { name: "paid", author: system.roles.admin },
        ]);
        await copy.query("update walhook.webhook set enabled = false where name = 'down'");
        const said: string[] = [];
        const streams = { out: (text: string) => said.push(text), err: (text: string) => said.push(text) };
        expect([await main(["accept-gap", "--yes"], { DATABASE_URL: url }, streams), said.join("")]).toEqual([
          0,
          expect.any(String),
        ]);
        expect(system.receiver.requests).toHaveLength(before);
        mine = createBridge({ databaseUrl: url });
        await mine.start();
        await copy.query("insert into orders values (3, 'Paid'), (4, 'Draft')");
        await eventually(() => system.receiver.requests.length === before + 1);
        expect(system.receiver.requests.at(-1)).toMatchObject({ path: "/paid", headers: { "x-a": "Paid" } });
      } finally {
        await mine?.stop();
        await copy.end().catch(() => {});
        await rm(folder, { recursive: true });
        await system.look("select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = $1", [
          name,
        ]);
        await system.look(`drop database if exists "${name}" with (force)`);
      }
    },
  );
});
