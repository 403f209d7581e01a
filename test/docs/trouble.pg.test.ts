import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startSystem, type System } from "../support/system.ts";
import { pageUrl } from "./generated.ts";

const text = await readFile(pageUrl("trouble.md"), "utf8");
/** What stands in the page as a statement, its placeholders filled in; those that take more than a name are left out. */
const statements = [...text.matchAll(/`((?:select|update|delete) [^`]*?;?)`/g)]
  .flatMap(([, sql = ""]) => sql.split(/(?<=;) /))
  .map((sql) => sql.replaceAll("since => …, until => …", "since => '-infinity', until => 'infinity'"))
  .map((sql) => sql.replaceAll("('…'", "('w'").replaceAll("= '…'", "= 'w'"))
  .filter((sql) => !sql.includes("…"));
/** About a backfill or rows that are not here, or the end of the configuration. */
const OTHERWISE = /resume_backfill|delete from walhook\.webhook/;

let system: System;
beforeAll(async () => {
  system = await startSystem("trouble");
  await system.app("create table orders (id int primary key)");
  await system.webhook("w", "orders", "after_insert", {
    enable_security: true,
    webhook_secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
  });
  await using _ = await system.startBridge();
  await system.app("insert into orders values (42)");
  await system.settled();
});
afterAll(() => system.drop());

describe("docs/trouble.md", () => {
  it("has statements", () => {
    expect(statements.length).toBeGreaterThan(20);
  });

  it.each(statements.filter((sql) => !OTHERWISE.test(sql)))("works for who configures: %s", async (sql) => {
    await expect(system.admin(sql)).resolves.toBeDefined();
  });
});
