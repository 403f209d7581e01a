import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Webhook as StandardWebhook } from "standardwebhooks";
import { eventually } from "./support/eventually.ts";
import { startSystem, type System } from "./support/system.ts";

let system: System;
beforeAll(async () => {
  system = await startSystem("bridge");
  await system.app(`create table orders (id bigint primary key, customer text, total numeric(12,2), status text)`);
  await system.startBridge();
});
afterAll(() => system.drop());

const json = (body: Buffer): Record<string, any> => JSON.parse(body.toString("utf8"));

describe("a bridge, run by nobody who is a superuser,", () => {
  it("turns a committed row into a webhook and logs it, with four columns configured", async () => {
    await system.webhook("first", "orders", "after_insert");
    await system.app("insert into orders values (1, 'Ann', 10.50, 'Draft')");
    const request = await eventually(() => system.received("first")[0]);
    expect(json(request.body)).toMatchObject({
      type: "orders.after_insert",
      data: { doctype: "orders", name: "1", event: "after_insert", doc: { id: 1, customer: "Ann", total: 10.5 } },
    });
    expect(request.body.toString()).toContain('"total":10.50');
    await system.caughtUp();
    const log = await system.look("select * from walhook.webhook_request_log where webhook = 'first'");
    expect(log).toHaveLength(1);
    expect(log[0]).toMatchObject({
      delivery_id: request.headers["webhook-id"],
      doctype: "orders",
      docname: "1",
      docevent: "after_insert",
      attempt: 1,
      outcome: "delivered",
      status_code: 200,
      source: "live",
      method: "POST",
      error: null,
      request_body: request.body.toString(),
    });
    expect(await system.look("select * from walhook.webhook_queue")).toEqual([]);
  });

  it("sends nothing of a transaction that is rolled back", async () => {
    await system.app("begin; insert into orders values (2, 'Bob', 1, 'Draft'); rollback");
    await system.app("insert into orders values (3, 'Cid', 1, 'Draft')");
    await eventually(() => system.received("first").some(({ body }) => json(body)["data"].name === "3"));
    expect(system.received("first").map(({ body }) => json(body)["data"].name)).toEqual(["1", "3"]);
  });

  it("asks the condition of Postgres, with the row before", async () => {
    await system.webhook("paid", "orders", "on_update", {
      condition: "doc.status = 'Paid' and old.status is distinct from doc.status",
    });
    await system.app("update orders set status = 'Sent' where id = 1");
    await system.app("update orders set status = 'Paid' where id = 1");
    await system.app("update orders set total = 11 where id = 1");
    await system.webhook("marker", "orders", "after_insert");
    await system.app("insert into orders values (4, 'Dee', 1, 'Draft')");
    await eventually(() => system.received("marker").length === 1);
    expect(system.received("paid").map(({ body }) => json(body)["data"].doc)).toMatchObject([
      { id: 1, status: "Paid" },
    ]);
  });

  it("gives two deliveries with two ids for one INSERT to a webhook on after_insert and on_change", async () => {
    await system.webhook("two", "orders", "after_insert, on_change");
    await system.app("insert into orders values (5, 'Eve', 1, 'Draft')");
    await eventually(() => system.received("two").length === 2);
    const [a, b] = system.received("two");
    expect(a!.headers["webhook-id"]).not.toBe(b!.headers["webhook-id"]);
    expect([a, b].map((request) => json(request!.body)["data"].event)).toEqual(["after_insert", "on_change"]);
  });

  it("signs what it sends", async () => {
    const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    await system.webhook("signed", "orders", "after_insert", { enable_security: true, webhook_secret: secret });
    await system.app("insert into orders values (6, 'Fay', 1, 'Draft')");
    const request = await eventually(() => system.received("signed")[0]);
    expect(() => new StandardWebhook(secret).verify(request.body.toString(), request.headers)).not.toThrow();
    await system.caughtUp();
    const [row] = await system.look(
      "select to_jsonb(l)::text as row from walhook.webhook_request_log l where webhook = 'signed'",
    );
    expect(row!["row"]).not.toContain(secret.slice(6));
    expect(row!["row"]).not.toContain(request.headers["webhook-signature"]);
  });

  it("follows UPDATE and DELETE of the configuration", async () => {
    await system.webhook("toggled", "orders", "after_insert");
    await system.app("insert into orders values (10, '', 1, '')");
    await system.admin("update walhook.webhook set enabled = false where name = 'toggled'");
    await system.app("insert into orders values (11, '', 1, '')");
    await system.admin("update walhook.webhook set enabled = true where name = 'toggled'");
    await system.app("insert into orders values (12, '', 1, '')");
    await system.admin("delete from walhook.webhook where name = 'toggled'");
    await system.app("insert into orders values (13, '', 1, '')");
    await system.caughtUp();
    expect(system.received("toggled").map(({ body }) => json(body)["data"].name)).toEqual(["10", "12"]);
  });
});
