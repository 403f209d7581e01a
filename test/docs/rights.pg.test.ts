import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { migrationFiles } from "../../src/db/migrate.ts";
import { DEFINERS } from "../sql/definers.ts";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import { installWalhook, type WalhookRoles } from "../support/walhook.ts";
import { pageUrl, pageWith } from "./generated.ts";
import { definerReasons, functionRights, functionRows, relationRights } from "./rights-tables.ts";

let db: TestDatabase;
let roles: WalhookRoles;

beforeAll(async () => {
  db = await createDatabase("docs_rights");
  roles = await installWalhook(db);
});
afterAll(async () => {
  await db.drop();
  await roles.drop();
});

describe("docs/rights.md", () => {
  it("lists what each role may do with every table, view and function: `npm run docs:sql` writes it", async () => {
    const page = await pageWith("rights.md", {
      relations: await relationRights(db),
      functions: await functionRights(db),
      definers: await definerReasons(db),
    });
    await expect(page).toMatchFileSnapshot(pageUrl("rights.md"));
  });
});

describe("installing again, file by file as psql does,", () => {
  it("changes no right", async () => {
    const before = [await relationRights(db), await functionRows(db)];
    const client = await db.connect();
    for (const { url } of await migrationFiles()) await client.query(await readFile(url, "utf8"));
    expect([await relationRights(db), await functionRows(db)]).toEqual(before);
  });
});

describe("the bridge's role", () => {
  it("has no table that its code does not name", async () => {
    const folder = fileURLToPath(new URL("../../src/", import.meta.url));
    const files = (await readdir(folder, { recursive: true })).filter((name) => name.endsWith(".ts"));
    const code = (await Promise.all(files.map((name) => readFile(join(folder, name), "utf8")))).join("\n");
    const { rows } = await db.query(`select distinct c.relname::text as name from pg_class c, aclexplode(c.relacl) x
      where c.relnamespace = 'walhook'::regnamespace and x.grantee = 'walhook_bridge'::regrole and not c.relispartition`);
    const idle = (rows as { name: string }[]).filter(({ name }) => !new RegExp(`walhook\\.${name}\\b`).test(code));
    expect(idle).toEqual([]);
  });
});

describe("who calls", () => {
  it("is known by the role's name as it is: read as an identifier, Alice would be alice", async () => {
    const { rows } = await db.query(`
      select p.proname::text as name from pg_proc p where p.pronamespace = 'walhook'::regnamespace and p.prosrc ~ '(^|[^(])(current|session)_user::([a-z_]+[.])?regrole'
      union all select c.relname from pg_class c where c.relnamespace = 'walhook'::regnamespace and c.relkind = 'v' and pg_get_viewdef(c.oid) ~* '[^(](current_user|session_user)[)]?::([a-z_]+[.])?regrole'`);
    expect(rows).toEqual([]);
  });
});

describe("functions that work as their owner", () => {
  it("are those of a list, each with its reason", async () => {
    const found = (await functionRows(db)).filter((row) => row.is_definer).map((row) => row.signature);
    expect(found.filter((signature) => DEFINERS[signature] === undefined)).toEqual([]);
  });

  it("have a fixed search_path", async () => {
    const loose = (await functionRows(db)).filter(
      ({ is_definer, settings }) => is_definer && settings?.includes("search_path=pg_catalog, pg_temp") !== true,
    );
    expect(loose).toEqual([]);
  });

  it("as triggers can be put on no table by anybody else: whoever may call one could put it on a table of his own", async () => {
    const callable = (await functionRows(db)).filter(
      (row) => row.is_definer && row.returns_trigger && row.roles.length > 0,
    );
    expect(callable).toEqual([]);
  });

  it("and all others, PUBLIC may call none, nor use the schemas", async () => {
    expect((await functionRows(db)).filter((row) => row.roles.includes("public"))).toEqual([]);
    const { rows } = await db.query(`
      select has_schema_privilege(o.oid, s.name, p.name) as may from (select oid from pg_roles where rolname = 'pg_monitor') o,
        (values ('walhook'), ('walhook_condition')) s (name), (values ('usage'), ('create')) p (name)`);
    expect(rows.map((row) => (row as { may: boolean }).may)).toEqual([false, false, false, false]);
  });
});
