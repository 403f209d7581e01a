import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { refusal, watchedDatabase, type WatchedDatabase } from "./watched-database.ts";

let world: WatchedDatabase;
beforeAll(async () => {
  world = await watchedDatabase("sql_cloudevents");
  await world.app.query(`create table orders (id int primary key); create table "Sales Örder" (id int primary key)`);
});
afterAll(() => world.drop());
beforeEach(async () => {
  await world.admin.query("delete from walhook.webhook");
  await world.webhook("w", "orders", "after_insert");
});

const set = (assignment: string): Promise<unknown> => world.admin.query(`update walhook.webhook set ${assignment}`);
const source = async (): Promise<unknown> =>
  (await world.rows("select cloudevents_source as source from walhook.webhook"))[0]!["source"];
const addHeader = (key: string): Promise<unknown> =>
  world.admin.query("insert into walhook.webhook_header (webhook, key, value) values ('w', $1, 'x')", [key]);

describe("payload_format", () => {
  it("is one of three", async () => {
    expect(await world.rows("select payload_format, cloudevents_source, handshake from walhook.webhook")).toEqual([
      { payload_format: "plain", cloudevents_source: null, handshake: false },
    ]);
    for (const format of ["'cloudevents-structured'", "'cloudevents-binary'", "'plain'"]) {
      await set(`payload_format = ${format}`);
    }
    for (const format of ["'cloudevents'", "''", "null"]) {
      expect(await refusal(set(`payload_format = ${format}`))).toMatchObject({
        code: "22023",
        hint: expect.stringContaining("cloudevents-structured"),
      });
    }
  });
  it("takes batches in structured mode alone, at INSERT and UPDATE", async () => {
    await set("payload_format = 'cloudevents-structured', batch_size = 10");
    const expected = {
      message: 'webhook "w": CloudEvents has no batches in binary mode',
      hint: "Set batch_size = 1, or payload_format = 'cloudevents-structured'.",
    };
    expect(await refusal(set("payload_format = 'cloudevents-binary'"))).toMatchObject(expected);
    await world.admin.query("delete from walhook.webhook");
    const more = { payload_format: "cloudevents-binary", batch_size: 2 };
    expect(await refusal(world.webhook("w", "orders", "after_insert", more))).toMatchObject(expected);
  });
  it("takes no form encoding, nor headers that say what the event says", async () => {
    await set("payload_format = 'cloudevents-structured'");
    expect(await refusal(set("request_structure = 'Form URL-Encoded'"))).toMatchObject({
      hint: expect.stringContaining("request_structure = 'JSON'"),
    });
    expect(await refusal(addHeader("Ce-Id"))).toMatchObject({ message: expect.stringContaining("header Ce-Id") });
    expect(await refusal(addHeader("content-type"))).toMatchObject({
      hint: expect.stringContaining("cloudevents-binary"),
    });
    await set("payload_format = 'cloudevents-binary'");
    await addHeader("content-type");
    await addHeader("X-Tenant");
    expect(await refusal(set("payload_format = 'cloudevents-structured'"))).toMatchObject({
      message: 'webhook "w": header content-type belongs to the CloudEvent',
    });
  });
});

describe("cloudevents_source", () => {
  it("names database and table where nobody has named another, and follows the table", async () => {
    const [{ name } = {}] = await world.rows("select current_database() as name");
    await set("payload_format = 'cloudevents-structured'");
    expect(await source()).toBe(`/walhook/${String(name)}/public.orders`);
    await set(`webhook_doctype = '"Sales Örder"'`);
    expect(await source()).toBe(`/walhook/${String(name)}/public.Sales%20%C3%96rder`);
    await set("cloudevents_source = 'urn:shop:orders'");
    await set("webhook_doctype = 'orders'");
    expect(await source()).toBe("urn:shop:orders");
    await set("cloudevents_source = null");
    expect(await source()).toBe(`/walhook/${String(name)}/public.orders`);
  });
  it.each(["a b", "", "ä", "100%", "a\nb", "x".repeat(1001)])("is a URI reference: not %j", async (text) => {
    const statement = world.admin.query(
      "update walhook.webhook set payload_format = 'cloudevents-binary', cloudevents_source = $1",
      [text],
    );
    expect(await refusal(statement)).toMatchObject({ code: "22023", hint: expect.stringContaining("/walhook/") });
  });
});

describe("handshake", () => {
  it("is for one URL and POST", async () => {
    await set("handshake = true, handshake_origin = 'shop.example.com'");
    expect(await refusal(set("is_dynamic_url = true, request_url = 'https://example.com/{{doc.id}}'"))).toMatchObject({
      message: 'webhook "w": a handshake needs one URL, and this one is rendered for each event',
      hint: "Set handshake = false, or is_dynamic_url = false.",
    });
    expect(await refusal(set("request_method = 'PUT'"))).toMatchObject({
      hint: expect.stringContaining("request_method = 'POST'"),
    });
    expect(await refusal(addHeader("WebHook-Request-Origin"))).toMatchObject({
      hint: expect.stringContaining("handshake_origin"),
    });
  });
  it.each(["", "a b", "-a.example", "a..example", "a\r\nb", "ä.example"])(
    "needs a DNS name as its origin: not %j",
    async (origin) => {
      const statement = world.admin.query("update walhook.webhook set handshake = true, handshake_origin = $1", [
        origin,
      ]);
      expect(await refusal(statement)).toMatchObject({
        code: "22023",
        hint: expect.stringContaining("shop.example.com"),
      });
    },
  );
});
