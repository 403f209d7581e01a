import { HTTP, type CloudEvent } from "cloudevents";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import type { ReceivedRequest } from "../support/receiver.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
beforeEach(async () => {
  system = await startSystem("cloudevents");
  await system.app("create table orders (id int primary key, note text)");
});
afterEach(() => system.drop());

/** The events of a request, each found valid by the package of the specification's authors. */
function eventsOf({ headers, body }: ReceivedRequest): readonly CloudEvent[] {
  const events = [HTTP.toEvent({ headers: { ...headers }, body: body.toString() })].flat() as CloudEvent[];
  for (const event of events) expect(event.validate()).toBe(true);
  return events;
}
const bytesOf = ({ headers, body }: ReceivedRequest): unknown => [
  headers["webhook-id"],
  headers["content-type"],
  Object.entries(headers).filter(([name]) => name.startsWith("ce-")),
  body.toString(),
];

describe("a webhook that sends CloudEvents", () => {
  it("tries each again as what it was when its event was matched, whatever the webhook says by now", async () => {
    let isDown = true;
    system.receiver.answer(() => (isDown ? { status: 500 } : {}));
    await system.webhook("w", "orders", "after_insert", {
      payload_format: "cloudevents-binary",
      cloudevents_source: "urn:shop",
      retry_schedule: "{400 ms, 400 ms, 400 ms, 1 h}",
    });
    const first = await system.startBridge({ graceMs: 50 });
    await system.app("insert into orders values (1, 'binary'), (2, 'binary')");
    await eventually(() => system.received("w").length >= 2);
    await system.admin(
      "update walhook.webhook set payload_format = 'cloudevents-structured', cloudevents_source = 'urn:other', batch_size = 10",
    );
    await system.app("insert into orders select n, 'batch' from generate_series(3, 12) n");
    await system.caughtUp();
    await first.stop();
    isDown = false;
    await system.startBridge({ graceMs: 50 });
    await system.settled();
    const requests = system.received("w");
    const byType = (type: string): ReceivedRequest[] =>
      requests.filter(({ headers }) => headers["content-type"] === type);
    const binary = byType("application/json");
    const batches = byType("application/cloudevents-batch+json");
    expect(binary.length + batches.length).toBe(requests.length);
    expect(new Set(binary.flatMap(eventsOf).map(({ subject, source }) => `${source} ${subject}`))).toEqual(
      new Set(["urn:shop 1", "urn:shop 2"]),
    );
    const inBatches = batches.flatMap(eventsOf);
    expect(new Set(inBatches.map(({ source }) => source))).toEqual(new Set(["urn:other"]));
    expect(new Set(inBatches.map(({ subject }) => subject)).size).toBe(10);
    // Each attempt of a request is the same bytes and attributes under the same id.
    const seen = new Map<unknown, unknown>();
    for (const request of requests) {
      const bytes = bytesOf(request);
      const id = request.headers["webhook-id"];
      if (seen.has(id)) expect(bytes).toEqual(seen.get(id));
      seen.set(id, bytes);
    }
    const log = await system.look(
      "select count(*)::int as rows, count(distinct delivery_id)::int as deliveries from walhook.webhook_request_log where outcome = 'delivered'",
    );
    expect(log).toEqual([{ rows: 12, deliveries: 12 }]);
  });

  it("gives an event whose condition could not be asked at once the id of its delivery", async () => {
    await system.webhook("w", "orders", "after_insert", {
      payload_format: "cloudevents-structured",
      condition: "(select count(*) from generate_series(1, doc.note::bigint)) > 0",
    });
    await system.startBridge({ conditionTimeoutMs: 300, graceMs: 50 });
    await system.app("insert into orders values (1, '100000000')");
    await eventually(
      async () => (await system.look("select from walhook.webhook_queue where kind = 'undecided'")).length === 1,
    );
    await system.admin("update walhook.webhook set condition = 'doc.id = 1'");
    await system.settled();
    const [request] = system.received("w");
    const [event] = eventsOf(request!);
    expect(event).toMatchObject({ id: request!.headers["webhook-id"], subject: "1", type: "orders.after_insert" });
  });
});
