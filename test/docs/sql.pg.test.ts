import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import { installWalhook, type WalhookRoles } from "../support/walhook.ts";
import { pageUrl, pageWith } from "./generated.ts";
import { functionPages, relationPages, relations, routines } from "./sql-reference.ts";

let db: TestDatabase;
let roles: WalhookRoles;

beforeAll(async () => {
  db = await createDatabase("docs_sql");
  roles = await installWalhook(db);
});
afterAll(async () => {
  await db.drop();
  await roles.drop();
});

describe("docs/sql.md", () => {
  it("is what the comments say: `npm run docs:sql` writes it", async () => {
    const page = await pageWith("sql.md", {
      functions: await functionPages(db),
      tables: await relationPages(db, ["table"]),
      views: await relationPages(db, ["view", "type"]),
    });
    await expect(page).toMatchFileSnapshot(pageUrl("sql.md"));
  });

  it("has something to say of every table, view, type, column and function", async () => {
    const silent = (await relations(db)).flatMap(({ name, comment, columns }) => [
      ...(comment === null ? [name] : []),
      ...columns.filter((column) => column.comment === null).map((column) => `${name}.${column.name}`),
    ]);
    expect([
      ...silent,
      ...(await routines(db)).filter(({ comment }) => comment === null).map(({ name }) => name),
    ]).toEqual([]);
  });
});
