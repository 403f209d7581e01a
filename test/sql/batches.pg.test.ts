import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { refusal, watchedDatabase, type WatchedDatabase } from "./watched-database.ts";

let world: WatchedDatabase;
beforeAll(async () => {
  world = await watchedDatabase("sql_batches");
  await world.app.query("create table orders (id int primary key)");
  await world.webhook("w", "orders", "after_insert");
});
afterAll(() => world.drop());

const set = (assignment: string): Promise<unknown> => world.admin.query(`update walhook.webhook set ${assignment}`);

describe("batch_size and batch_window", () => {
  it("are kept in range", async () => {
    await set("batch_size = 1000, batch_window = '1.5 s'");
    expect(await world.rows("select batch_size, batch_window_ms from walhook.webhook")).toEqual([
      { batch_size: 1000, batch_window_ms: 1500 },
    ]);
    for (const size of ["0", "1001", "null"]) {
      expect(await refusal(set(`batch_size = ${size}`))).toMatchObject({
        code: "22023",
        hint: expect.stringContaining("1000"),
      });
    }
    for (const window of ["'-1 s'", "'61 s'", "null"]) {
      expect(await refusal(set(`batch_window = ${window}`))).toMatchObject({
        code: "22023",
        hint: expect.stringContaining("60 s"),
      });
    }
  });

  it("refuse what belongs to a single event: form encoding, a dynamic URL, a templated header", async () => {
    await set("batch_size = 10");
    expect(await refusal(set("request_structure = 'Form URL-Encoded'"))).toMatchObject({
      message: 'webhook "w": a batch cannot be form-encoded',
    });
    expect(await refusal(set("is_dynamic_url = true, request_url = 'https://example.com/{{doc.id}}'"))).toMatchObject({
      message: 'webhook "w": a batch has one URL for all its events',
    });
    expect(
      await refusal(
        world.admin.query(
          "insert into walhook.webhook_header (webhook, key, value) values ('w', 'X-Id', '{{doc.id}}')",
        ),
      ),
    ).toMatchObject({
      message: 'webhook "w": a batch has one header X-Id for all its events, and this one is a template',
    });
    await world.admin.query(
      "insert into walhook.webhook_header (webhook, key, value) values ('w', 'X-Fixed', 'value')",
    );
  });
});
