import { Kysely, PostgresDialect } from "kysely";
import type pg from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { migrate } from "../../src/db/migrate.ts";
import type { Database } from "../../src/db/schema.ts";
import { endOfTransaction } from "../../src/decode/chunk.ts";
import { unsentRecord } from "../../src/deliver/attempt-record.ts";
import { newTicket, type Ticket } from "../../src/deliver/ticket.ts";
import { takeOver } from "../../src/record/bridge-row.ts";
import { CheckpointWriter } from "../../src/record/checkpoint-writer.ts";
import type { CheckpointPlan, QueueState } from "../../src/record/checkpoint-plan.ts";
import { createDatabase, createPool, type TestDatabase } from "../support/database.ts";

let database: TestDatabase;
let pool: pg.Pool;
let db: Kysely<Database>;
beforeAll(async () => {
  database = await createDatabase("checkpoint");
  await migrate(await database.connect());
  pool = createPool(database.url);
  db = new Kysely<Database>({ dialect: new PostgresDialect({ pool }) });
});
afterAll(async () => {
  await db.destroy();
  await database.drop();
});
beforeEach(() => database.query("delete from walhook.webhook_queue; delete from walhook.webhook_request_log"));

let lsn = 100n;
function ticket(id: string, docname: string | null, over: Partial<Ticket["delivery"]> = {}): Ticket {
  lsn += 1n;
  const position = { commitLsn: lsn, changeLsn: lsn, index: 0 };
  const request = {
    method: "POST",
    url: null,
    contentType: "application/json",
    headers: [["X-A", "b\tc"]] as const,
    body: Buffer.from('{"a":"\\t"}'),
  };
  const delivery = {
    id,
    webhookId: 1,
    webhookName: "w",
    doctype: "orders",
    docname,
    oldDocname: null,
    docevent: "on_update" as const,
    source: "live" as const,
    position,
    xid: 7,
    commitTimeUs: 1_700_000_000_123_456n,
    isOrdered: true,
    ...over,
  };
  return newTicket(delivery, request);
}
const state = (of: Ticket, over: Partial<QueueState> = {}): QueueState => ({
  ticket: of,
  attempts: 0,
  dueAtMs: null,
  lastError: null,
  isDead: false,
  holdsLane: false,
  isSending: false,
  ...over,
});
const plan = (over: Partial<CheckpointPlan>): CheckpointPlan => ({
  position: endOfTransaction(lsn),
  flushLsn: lsn + 1n,
  bytes: 0,
  tickets: 0,
  records: [],
  enqueue: [],
  requeue: [],
  dequeue: [],
  configuration: [],
  isWorthWriting: true,
  ...over,
});
async function writer(): Promise<CheckpointWriter> {
  const { epoch } = await takeOver(db, "test");
  return new CheckpointWriter(await database.connect(), epoch);
}
async function due(): Promise<readonly string[]> {
  const { rows } = await database.query(
    "select delivery_id as id from walhook.webhook_queue where due_at is not null order by commit_lsn",
  );
  return (rows as { id: string }[]).map(({ id }) => id);
}

describe("a checkpoint", () => {
  it("of a bridge that was taken over is refused, and writes nothing", async () => {
    const old = await writer();
    const cursor = async () => (await database.query("select cursor_commit_lsn, flush_lsn from walhook.bridge")).rows;
    const before = await cursor();
    await writer();
    const record = unsentRecord(ticket("a", "A").delivery, "delivered", "", Date.now());
    await expect(
      old.write(plan({ records: [record], enqueue: [state(ticket("b", "B"))] }), [], 0),
    ).rejects.toMatchObject({
      code: "fenced",
    });
    expect(await cursor()).toEqual(before);
    expect((await database.query("select from walhook.webhook_queue")).rowCount).toBe(0);
    expect((await database.query("select from walhook.webhook_request_log")).rowCount).toBe(0);
  });

  it("writes log, queue and cursor together, every field as it was", async () => {
    const record = unsentRecord(ticket("a", "tab\tand\\N").delivery, "error", "line\nbreak", Date.now());
    await (
      await writer()
    ).write(plan({ records: [record], enqueue: [state(ticket("b", "B"), { attempts: 3 })] }), [], 0);
    const { rows: log } = await database.query(
      "select docname, error, outcome, commit_time from walhook.webhook_request_log",
    );
    expect(log).toMatchObject([{ docname: "tab\tand\\N", error: "line\nbreak", outcome: "error" }]);
    const { rows: queue } = await database.query(
      "select convert_from(body, 'UTF8') as body, headers, attempts, commit_time::text from walhook.webhook_queue",
    );
    expect(queue).toMatchObject([{ body: '{"a":"\\t"}', headers: [["X-A", "b\tc"]], attempts: 3 }]);
    const { rows: bridge } = await database.query("select flush_lsn::text from walhook.bridge");
    expect(bridge).toEqual([{ flush_lsn: `0/${(lsn + 1n).toString(16).toUpperCase()}` }]);
  });

  it("makes only the head of each lane due, and the next one when it ends", async () => {
    const [a1, a2, b1] = [ticket("a1", "A"), ticket("a2", "A"), ticket("b1", "B")];
    const checkpoint = await writer();
    await checkpoint.write(plan({ enqueue: [state(a1), state(a2), state(b1)] }), [], 0);
    expect(await due()).toEqual(["a1", "b1"]);
    await checkpoint.write(plan({ dequeue: [a1] }), [], 0);
    expect(await due()).toEqual(["a2", "b1"]);
  });

  it("keeps a key change behind both names' lanes", async () => {
    const [a, b] = [ticket("a", "A"), ticket("b", "B")];
    const [renamed, after] = [ticket("renamed", "B", { oldDocname: "A" }), ticket("after", "A")];
    const checkpoint = await writer();
    await checkpoint.write(plan({ enqueue: [state(a), state(b), state(renamed), state(after)] }), [], 0);
    expect(await due()).toEqual(["a", "b"]);
    await checkpoint.write(plan({ dequeue: [b] }), [], 0);
    expect(await due()).toEqual(["a"]);
    await checkpoint.write(plan({ dequeue: [a] }), [], 0);
    expect(await due()).toEqual(["renamed"]);
    await checkpoint.write(plan({ dequeue: [renamed] }), [], 0);
    expect(await due()).toEqual(["after"]);
  });

  it("lets a TRUNCATE wait for all before it and hold all behind it, of its own webhook alone", async () => {
    const [a, keyless] = [ticket("a", "A"), ticket("keyless", null)];
    const truncate = ticket("truncate", null, { docevent: "on_truncate" });
    const [after, other] = [ticket("after", "Z"), ticket("other", "Z", { webhookId: 2 })];
    const checkpoint = await writer();
    await checkpoint.write(plan({ enqueue: [a, keyless, truncate, after, other].map((each) => state(each)) }), [], 0);
    expect(await due()).toEqual(["a", "keyless", "other"]);
    await checkpoint.write(plan({ dequeue: [a] }), [], 0);
    expect(await due()).toEqual(["keyless", "other"]);
    await checkpoint.write(plan({ dequeue: [keyless] }), [], 0);
    expect(await due()).toEqual(["truncate", "other"]);
    await checkpoint.write(plan({ dequeue: [truncate] }), [], 0);
    expect(await due()).toEqual(["after", "other"]);
  });

  it("lets a lane go on behind a dead letter, which stays", async () => {
    const [a1, a2] = [ticket("a1", "A"), ticket("a2", "A")];
    const checkpoint = await writer();
    await checkpoint.write(plan({ enqueue: [state(a1), state(a2)] }), [], 0);
    await checkpoint.write(
      plan({ requeue: [state(a1, { isDead: true, attempts: 11, lastError: "HTTP 500" })] }),
      [],
      0,
    );
    const { rows } = await database.query(
      "select delivery_id, is_dead, due_at is not null as due from walhook.webhook_queue order by 1",
    );
    expect(rows).toEqual([
      { delivery_id: "a1", is_dead: true, due: false },
      { delivery_id: "a2", is_dead: false, due: true },
    ]);
  });

  it("that passes a webhook's deletion cancels what it puts back into the queue too, and leaves what is being sent to who sends it", async () => {
    const checkpoints = await writer();
    const [failed, sending, other] = [ticket("a", "A"), ticket("b", "B"), ticket("c", "C", { webhookId: 2 })];
    await checkpoints.write(plan({ enqueue: [failed, sending, other].map((one) => state(one)) }), [], 0);
    const effect = { changed: new Map(), removed: [1], repairs: [] };
    const requeue = [state(failed, { attempts: 1, dueAtMs: 1, lastError: "HTTP 500" })];
    const delta = await checkpoints.write(plan({ requeue, configuration: [effect] }), ["a", "b"], 0);
    expect([...delta]).toEqual([[1, -1]]);
    const { rows: left } = await database.query("select delivery_id from walhook.webhook_queue order by 1");
    expect(left).toEqual([{ delivery_id: "b" }, { delivery_id: "c" }]);
    const { rows: logged } = await database.query(
      "select delivery_id, outcome, attempt from walhook.webhook_request_log",
    );
    expect(logged).toEqual([{ delivery_id: "a", outcome: "cancelled", attempt: 1 }]);
  });
});
