import { afterAll, beforeAll, expect, test } from "vitest";
import { migrate } from "../../src/db/migrate.ts";
import { createDatabase, type TestDatabase } from "../support/database.ts";

let db: TestDatabase;

beforeAll(async () => {
  db = await createDatabase("migrate");
});
afterAll(() => db.drop());

test("installs, says what it did, and finds nothing to do the second time", async () => {
  const client = await db.connect();
  const first = await migrate(client);
  expect(first).toContain("applied 020 tables");
  expect(await migrate(client)).toEqual(["the schema is up to date"]);
});
