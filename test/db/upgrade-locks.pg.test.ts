import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type pg from "pg";
import { afterAll, beforeAll, beforeEach, afterEach, describe, expect, it } from "vitest";
import { migrate } from "../../src/db/migrate.ts";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import { eventually } from "../support/eventually.ts";

let db: TestDatabase;
let folder: string;
let client: pg.Client;
let analyst: pg.Client;
const LATER = `begin; alter table walhook.webhook_request_log add column if not exists later text;
  insert into walhook.migration (version, name) values (999, 'later') on conflict do nothing; commit;`;
const options = { lockTimeoutMs: 200 };

beforeAll(async () => {
  db = await createDatabase("upgrade_locks");
  client = await db.connect();
  await migrate(client);
  folder = await mkdtemp(join(tmpdir(), "walhook-sql-"));
  await writeFile(join(folder, "999_later.sql"), LATER);
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
  await db.drop();
});
beforeEach(async () => {
  await client.query(
    "alter table walhook.webhook_request_log drop column if exists later; delete from walhook.migration where version = 999",
  );
  analyst = await db.connect();
  await analyst.query("set application_name = 'report'; begin; select count(*) from walhook.webhook_request_log");
});
afterEach(() => analyst.end());

const upgrade = (): Promise<readonly string[]> => migrate(client, { ...options, folder: pathToFileURL(`${folder}/`) });
const waiting = async (): Promise<boolean> =>
  (await db.query("select from pg_locks where not granted and relation = 'walhook.webhook_request_log'::regclass")).rows
    .length > 0;

describe("an upgrade that meets somebody's open transaction over the log", () => {
  it("steps back again and again, so that the log can be written meanwhile, and is made when the other is done", async () => {
    const done = upgrade();
    const writer = await db.connect();
    await writer.query("set lock_timeout = '5s'");
    await eventually(waiting);
    // Behind the upgrade's lock, which lets go.
    await writer.query("begin; lock table walhook.webhook_request_log in row exclusive mode; rollback");
    await analyst.query("rollback");
    expect(await done).toEqual(["applied 999 later"]);
    await writer.end();
  });

  it("ends, where that does not come to an end, with who it is and what to do, and leaves no lock behind", async () => {
    const [{ pid }] = (await analyst.query("select pg_backend_pid() as pid")).rows as [{ pid: number }];
    await expect(upgrade()).rejects.toMatchObject({
      code: "install_failed",
      message: "installing 999 later failed: canceling statement due to lock timeout",
      hint: expect.stringMatching(
        new RegExp(
          `^A lock that it needs is held by process ${pid} \\(postgres, report, idle in transaction since .*` +
            `select pg_terminate_backend\\(${pid}\\)\\. Then run \`walhook install\` again: what was applied stays\\.$`,
        ),
      ),
    });
    expect((await client.query("show lock_timeout")).rows).toEqual([{ lock_timeout: "0" }]);
    await analyst.query("rollback");
    expect(await upgrade()).toEqual(["applied 999 later"]);
  }, 20_000);
});
