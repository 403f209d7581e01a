import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startSystem, type System } from "../support/system.ts";
import { pageUrl } from "./generated.ts";

const text = await readFile(pageUrl("watching.md"), "utf8");
const statements = [...text.matchAll(/```sql\n([\s\S]*?)```/g)]
  .flatMap(([, block = ""]) => block.split(/;\n/))
  .map((statement) => statement.replaceAll(/^--.*$/gm, "").trim())
  .filter((statement) => statement !== "");

let system: System;
const analyst = `analyst_${randomBytes(4).toString("hex")}`;
beforeAll(async () => {
  system = await startSystem("watching");
  await system.look(`create role ${analyst} login in role walhook_analyst`);
  await system.app("create table orders (id int primary key, status text)");
  await system.webhook("paid-orders", "orders", "after_insert", { condition: "doc.status = 'Paid'" });
  await using _ = await system.startBridge();
  await system.app("insert into orders values (42, 'Paid')");
  await system.settled();
});
afterAll(() => system.drop());

describe("docs/watching.md", () => {
  it("has statements", () => {
    expect(statements.length).toBeGreaterThan(8);
  });

  it("lists webhooks that send nothing first, whatever their receiver's health is", async () => {
    await system.webhook("all-well", "orders", "after_insert");
    await system.webhook("stopped", "orders", "after_insert");
    await system.admin("select walhook.pause('stopped')");
    const [first] = statements.filter((sql) => sql.includes("from walhook.status"));
    const { rows } = await system.db.queryAs(analyst, first!);
    expect(rows[0]).toMatchObject({ webhook: "stopped", health: "ok", paused: true });
    await system.admin("delete from walhook.webhook where name in ('all-well', 'stopped')");
  });

  it.each(statements)("works for an analyst, or for who configures: %s", async (sql) => {
    if (sql.startsWith("update")) return void (await system.admin(sql));
    const { rows, fields } = await system.db.queryAs(analyst, sql);
    expect(fields.length).toBeGreaterThan(0);
    // Of what the page asks about all but these has happened here.
    if (!/4711|'dead'|yesterday|current_date/.test(sql)) expect(rows.length).toBeGreaterThan(0);
  });
});
