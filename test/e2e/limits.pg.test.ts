import { Kysely, PostgresDialect } from "kysely";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Database } from "../../src/db/schema.ts";
import { fetchDue } from "../../src/deliver/due-deliveries.ts";
import { createPool } from "../support/database.ts";
import { eventually } from "../support/eventually.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
beforeEach(async () => {
  system = await startSystem("limits");
  await system.app("create table document (id bigint primary key, note text)");
});
afterEach(() => system.drop());

const LIMITS = { maxRowBytes: 10_000, maxBodyBytes: 5000, graceMs: 100 };

const logOf = (webhook: string) =>
  system.look(
    "select docname, outcome, error_class, error from walhook.webhook_request_log where webhook = $1 order by delivery_id",
    [webhook],
  );
const bodiesOf = (
  webhook: string,
): { readonly data: { readonly doc: { readonly id: number }; readonly omitted?: string[] } }[] =>
  system.received(webhook).map(({ body }) => JSON.parse(body.toString("utf8")));

describe("a row above the limit", () => {
  it("is sent without its longest values, which are named, and the next row comes after it", async () => {
    await system.startBridge(LIMITS);
    await system.webhook("hook", "document", "after_insert");
    await system.app("insert into document values (1, repeat('x', 20000)), (2, 'short')");
    await eventually(() => system.received("hook").length === 2);
    const [first, second] = bodiesOf("hook").map(({ data }) => data);
    expect(first).toMatchObject({ doc: { id: 1 }, omitted: ["note"] });
    expect(first?.doc).not.toHaveProperty("note");
    expect(second).toMatchObject({ doc: { id: 2, note: "short" } });
  });

  it("is undecidable where a template or a condition needs what was left out, with the limit's name", async () => {
    await system.startBridge(LIMITS);
    await system.webhook("template", "document", "after_insert", { webhook_json: '{"note": "{{doc.note}}"}' });
    await system.webhook("condition", "document", "after_insert", { condition: "doc.note like '%x'" });
    await system.app("insert into document values (1, repeat('x', 20000))");
    await system.caughtUp();
    for (const webhook of ["template", "condition"]) {
      expect(await logOf(webhook)).toMatchObject([
        { docname: "1", outcome: "undecidable", error: expect.stringContaining("--max-row-bytes") },
      ]);
    }
  });

  it("does not matter for configuration: a template longer than the limit is in force", async () => {
    await system.startBridge({ ...LIMITS, maxRowBytes: 1000 });
    await system.webhook("hook", "document", "after_insert", { webhook_json: `{"text": "${"t".repeat(3000)}"}` });
    await system.app("insert into document values (1, 'short')");
    await eventually(() => system.received("hook").length === 1);
  });
});

describe("a body above the limit", () => {
  it("is logged as an error with its size, holds up no other, not even of its document, and leaves nothing open", async () => {
    await system.startBridge(LIMITS);
    await system.webhook("hook", "document", "after_insert, on_update");
    await system.app("insert into document values (1, repeat('x', 6000)), (2, 'short')");
    await system.app("update document set note = 'short' where id = 1");
    await eventually(() => system.received("hook").length === 2);
    await system.settled();
    expect(new Set(bodiesOf("hook").map(({ data }) => data.doc.id))).toEqual(new Set([1, 2]));
    const [refused] = await logOf("hook");
    expect(refused).toMatchObject({ docname: "1", outcome: "error", error_class: "body_too_large" });
    expect(refused?.["error"]).toMatch(/6\d{3} bytes or more, and no more than 5000 .*--max-body-bytes/);
  });

  it("is found by its bytes, not by its characters", async () => {
    await system.startBridge(LIMITS);
    await system.webhook("hook", "document", "after_insert", { webhook_json: '{"note": "{{doc.note}}"}' });
    await system.app("insert into document values (1, repeat('ä', 2600)), (2, repeat('a', 2600))");
    await eventually(() => system.received("hook").length === 1);
    await system.caughtUp();
    expect(await logOf("hook")).toMatchObject([
      { docname: "1", outcome: "error", error_class: "body_too_large" },
      { docname: "2", outcome: "delivered" },
    ]);
  });

  it("is found before a template that repeats a value is rendered whole", async () => {
    await system.startBridge(LIMITS);
    const webhook_json = `[${Array.from({ length: 1000 }, () => '"{{doc.note}}"').join(",")}]`;
    await system.webhook("hook", "document", "after_insert", { webhook_json });
    await system.app("insert into document values (1, repeat('x', 1000))");
    await system.caughtUp();
    expect(await logOf("hook")).toMatchObject([{ outcome: "error", error_class: "body_too_large" }]);
  });

  it("is found as well where the delivery had to wait for its decision in the queue", async () => {
    await system.startBridge(LIMITS);
    await system.webhook("hook", "document", "after_insert", { condition: "doc.id > 0" });
    await system.app(`revoke select on document from "${system.roles.admin}"`);
    await eventually(
      async () => (await system.look("select from walhook.webhook_state where state = 'held'")).length === 1,
    );
    await system.app("insert into document values (1, repeat('x', 6000))");
    await eventually(async () => (await system.look("select from walhook.webhook_queue")).length === 1);
    await system.app(`grant select on document to "${system.roles.admin}"`);
    await system.settled();
    expect(await logOf("hook")).toMatchObject([{ docname: "1", outcome: "error", error_class: "body_too_large" }]);
  });
});

describe("bodies of the queue", () => {
  it("are fetched up to so many bytes, at least one at a time", async () => {
    const bridge = await system.startBridge({ graceMs: 100, retryScheduleMs: [60_000] });
    await system.webhook("hook", "document", "after_insert");
    system.receiver.answer({ status: 500 });
    await system.app("insert into document select i, repeat('x', 1000) from generate_series(101, 110) i");
    await eventually(async () => (await system.look("select from walhook.webhook_queue")).length === 10);
    await bridge.stop();
    await system.look("update walhook.webhook_queue set due_at = now()");
    const [row] = await system.look(
      "select webhook_id, octet_length(body) as bytes from walhook.webhook_queue limit 1",
    );
    const bytes = Number(row?.["bytes"]);
    const rooms = [{ webhookId: Number(row?.["webhook_id"]), kind: "request" as const, count: 100 }];
    const db = new Kysely<Database>({
      dialect: new PostgresDialect({ pool: createPool(system.db.url) }),
    });
    const page = async (limitBytes: number): Promise<number> =>
      (await fetchDue(db, { rooms, claimed: [], limit: 100, limitBytes })).tickets.length;
    expect([await page(1), await page(2 * bytes), await page(3 * bytes + 1), await page(10 * bytes)]).toEqual([
      1, 2, 3, 10,
    ]);
    await db.destroy();
  });

  it("drain a few at a time where they are large, in order and without a loss", async () => {
    const bridge = await system.startBridge({ graceMs: 100, retryScheduleMs: [60_000] });
    await system.webhook("hook", "document", "after_insert");
    system.receiver.answer({ status: 500 });
    await system.app("insert into document select i, repeat('x', 100000) from generate_series(1, 30) i");
    await eventually(async () => (await system.look("select from walhook.webhook_queue")).length === 30);
    await bridge.stop();
    const before = system.received("hook").length;
    await system.look(
      "update walhook.webhook_queue set due_at = now(); update walhook.webhook_state set breaker = 'closed'",
    );
    let open = 0;
    let mostOpen = 0;
    system.receiver.answer(() => {
      mostOpen = Math.max(mostOpen, ++open);
      setTimeout(() => open--, 20);
      return { delayMs: 20 };
    });
    await system.startBridge({ graceMs: 100, maxBytesInFlight: 300_000 });
    await system.settled();
    expect(system.received("hook").length - before).toBe(30);
    expect(mostOpen).toBeLessThanOrEqual(4);
  });
});

describe("an endpoint that never answers", () => {
  it("does not fill the memory for bodies with its own: other webhooks go on, and its deliveries wait in the queue", async () => {
    await system.app("create table event (id bigint primary key)");
    await system.startBridge({ maxBytesInFlight: 1_000_000 });
    await system.webhook("silent", "document", "after_insert");
    await system.webhook("live", "event", "after_insert");
    system.receiver.answer(({ path }) => ({ hang: path === "/silent" }));
    await system.app("insert into document select i, repeat('x', 100000) from generate_series(1, 300) i");
    await system.app("insert into event values (1)");
    // Ten at a time would leave memory only each second.
    await eventually(() => system.received("live").length === 1, { withinMs: 15_000 });
    expect(system.received("silent").length).toBeLessThan(50);
    await eventually(async () => (await system.look("select from walhook.webhook_queue")).length === 300);
  }, 60_000);
});

describe("a row of the configuration", () => {
  it("is refused above 1 MiB, with a hint", async () => {
    const template = `{"text": "${"t".repeat(1_100_000)}"}`;
    await expect(system.webhook("hook", "document", "after_insert", { webhook_json: template })).rejects.toMatchObject({
      code: "54000",
      message: expect.stringContaining("1048576 are the most"),
      hint: expect.any(String),
    });
    await system.webhook("hook", "document", "after_insert");
    const header = `insert into walhook.webhook_header (webhook, key, value) values ('hook', 'x', repeat('v', 1100000))`;
    await expect(system.admin(header)).rejects.toMatchObject({ code: "54000" });
  });
});
