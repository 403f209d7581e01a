import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { ReceivedRequest } from "../support/receiver.ts";
import { eventually } from "../support/eventually.ts";
import { said } from "../sql/said.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;

beforeAll(async () => {
  system = await startSystem("send_test");
  await system.app(`
    create table orders (id int primary key, status text, total numeric);
    create table empty (id int primary key);
    insert into orders values (1, 'Draft', 5), (2, 'Paid', 50)`);
  await system.startBridge();
});
afterAll(() => system.drop());
beforeEach(async () => {
  await system.admin("delete from walhook.webhook");
  system.receiver.answer({});
});

/** Sends a test and waits for its log row. */
async function test(args: string): Promise<Readonly<Record<string, unknown>>> {
  const [row] = await system.admin(`select walhook.send_test(${args}) as id`);
  return eventually(async () => {
    const found = await system.look("select * from walhook.webhook_request_log where delivery_id = $1", [row!["id"]]);
    return found[0] ?? null;
  });
}

function receivedTests(name: string): readonly ReceivedRequest[] {
  return system.received(name).filter(({ headers }) => headers["webhook-test"] === "true");
}

describe("walhook.send_test", () => {
  it("sends the request that preview shows, marked as a test, and logs it as one", async () => {
    await system.webhook("signed", "orders", "after_insert", {
      enable_security: true,
      webhook_secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    });
    const logged = await test("'signed', '2'");
    expect(logged).toMatchObject({
      source: "test",
      webhook: "signed",
      docname: "2",
      docevent: "after_insert",
      attempt: 1,
      outcome: "delivered",
      status_code: 200,
      request_headers: { "webhook-test": "true" },
    });
    const [request, ...more] = receivedTests("signed");
    expect(more).toEqual([]);
    const [shown] = await system.admin(
      "select body, headers from walhook.preview('signed', '2', id => $1, sent_at => to_timestamp($2::bigint))",
      [logged["delivery_id"], request!.headers["webhook-timestamp"]],
    );
    expect(request!.body.toString()).toBe(shown!["body"]);
    const headers = Object.entries(shown!["headers"] as Record<string, string>);
    expect(request!.headers).toMatchObject(
      Object.fromEntries(headers.map(([name, value]) => [name.toLowerCase(), value])),
    );
    expect(request!.headers["webhook-id"]).toBe(logged["delivery_id"]);
  });

  it("has an id of its own each time", async () => {
    await system.webhook("ids", "orders", "after_insert");
    const ids = new Set([await test("'ids', '1'"), await test("'ids', '1'")].map((row) => row["delivery_id"]));
    expect(ids.size).toBe(2);
    for (const id of ids) expect(id).toMatch(/^msg_[0-9a-v]{48}$/);
  });

  it("asks neither condition nor enabled, and takes the newest document where none is named", async () => {
    await system.webhook("quiet", "orders", "after_insert", { condition: "false", enabled: false });
    expect(await test("'quiet'")).toMatchObject({ outcome: "delivered", docname: "2" });
    expect(receivedTests("quiet")).toHaveLength(1);
  });

  it("of a webhook with batches sends a batch of one", async () => {
    await system.webhook("batches", "orders", "after_insert", { batch_size: 10 });
    const logged = await test("'batches', '1'");
    expect(JSON.parse(receivedTests("batches")[0]!.body.toString())).toMatchObject([{ id: logged["delivery_id"] }]);
  });

  it("is sent once: a failure is logged, and nothing is in the queue", async () => {
    await system.webhook("failing", "orders", "after_insert");
    system.receiver.answer({ status: 503 });
    expect(await test("'failing', '1'")).toMatchObject({
      outcome: "error",
      status_code: 503,
      error: "HTTP 503",
      error_class: "http_status",
    });
    await system.settled();
    expect(await system.look("select from walhook.webhook_queue")).toEqual([]);
    expect(receivedTests("failing")).toHaveLength(1);
    await system.admin("update walhook.webhook set request_url = 'http://169.254.169.254/'");
    expect(await test("'failing', '1'")).toMatchObject({ outcome: "blocked", error_class: "blocked_address" });
    await system.admin("update walhook.webhook set webhook_json = '{{doc.status}}'");
    expect(await test("'failing', '1'")).toMatchObject({
      outcome: "error",
      attempt: 0,
      error: expect.stringContaining("not JSON"),
    });
  });

  it("passes a document's deliveries that wait, and holds none up", async () => {
    await system.webhook("lane", "orders", "on_update", { retry_schedule: "{1 hour}" });
    system.receiver.answer({ status: 500 });
    await system.app("update orders set total = 6 where id = 1");
    await eventually(async () => (await system.look("select from walhook.webhook_queue")).length === 1);
    system.receiver.answer({});
    expect(await test("'lane', '1'")).toMatchObject({ outcome: "delivered" });
    expect(await system.look("select from walhook.webhook_queue")).toHaveLength(1);
  });

  it("is not sent where its transaction is rolled back", async () => {
    await system.webhook("never", "orders", "after_insert");
    await system.admin("begin");
    await system.admin("select walhook.send_test('never', '1')");
    await system.admin("rollback");
    await test("'never', '2'");
    expect(receivedTests("never")).toHaveLength(1);
  });

  it("is refused where there is nothing to send, and where nobody would send it", async () => {
    await system.webhook("none", "empty", "after_insert, on_truncate");
    const admin = await system.db.connect(system.roles.admin);
    expect((await said(admin, "select walhook.send_test('none')"))[0]).toBe(
      'webhook "none": its table has no row to test with',
    );
    expect(await test("'none', event => 'on_truncate'")).toMatchObject({ outcome: "delivered", docname: null });
    await using lonely = await startSystem("lonely");
    await lonely.app("create table orders (id int primary key); insert into orders values (1)");
    await lonely.webhook("w", "orders", "after_insert");
    const asker = await lonely.db.connect(lonely.roles.admin);
    expect((await said(asker, "select walhook.send_test('w')"))[0]).toBe("no bridge is at work");
  });

  it("is not sent to a receiver that has not consented, and preview says so", async () => {
    await system.webhook("asking", "orders", "after_insert", { handshake: true });
    await eventually(
      async () => (await system.look("select from walhook.webhook_state where state = 'held'")).length > 0,
    );
    expect(await test("'asking', '1'")).toMatchObject({
      outcome: "error",
      attempt: 0,
      error: expect.stringMatching(/^the webhook is held: /),
    });
    expect(receivedTests("asking")).toEqual([]);
    expect(await system.admin("select fires, reason from walhook.preview('asking', '1')")).toEqual([
      { fires: false, reason: expect.stringMatching(/^the webhook is held: /) },
    ]);
  });

  it("is not sent again where the bridge reads in the WAL again that it was asked for", async () => {
    await system.webhook("again", "orders", "after_insert");
    const asker = await system.db.connect();
    await asker.query("begin; select walhook.send_test('again')");
    const [question] = (await asker.query("select token from walhook.question")).rows as { token: string }[];
    await asker.query("commit");
    await eventually(() => receivedTests("again").length === 1);
    const repeated = JSON.stringify({ kind: "test", token: question!.token });
    await asker.query("select pg_logical_emit_message(true, 'walhook', $1)", [repeated]);
    await test("'again', '1'");
    expect(receivedTests("again")).toHaveLength(2);
    expect(await system.look("select from walhook.question")).toEqual([]);
  });
});
