import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { refusal, watchedDatabase, type WatchedDatabase } from "./watched-database.ts";

let world: WatchedDatabase;
beforeAll(async () => {
  world = await watchedDatabase("sql_log_details");
  await world.app.query("create table orders (id int primary key)");
  await world.webhook("w", "orders", "after_insert");
});
afterAll(() => world.drop());

const set = (assignment: string): Promise<unknown> => world.admin.query(`update walhook.webhook set ${assignment}`);

describe("how much the log keeps", () => {
  it.each([
    [0, 0],
    [1_000_000, 16_384],
  ])("may be %i bytes of a request and %i of its answer", async (request, response) => {
    await set(`log_request_bytes = ${request}, log_response_bytes = ${response}`);
    const { rows } = await world.admin.query("select log_request_bytes, log_response_bytes from walhook.webhook");
    expect(rows).toEqual([{ log_request_bytes: request, log_response_bytes: response }]);
  });
  it.each([
    ["log_request_bytes = -1", 'webhook "w": log_request_bytes is -1', "NULL keeps the whole body"],
    ["log_response_bytes = -1", 'webhook "w": log_response_bytes is -1', "between 0"],
    ["log_response_bytes = 16385", 'webhook "w": log_response_bytes is 16385', "16384, beyond which"],
  ])("may not be %s, and the HINT says what may be", async (assignment, message, hint) => {
    expect(await refusal(set(assignment))).toMatchObject({ message, hint: expect.stringContaining(hint) });
  });
});

describe("a batch's body without one payload", () => {
  const without = async (body: string | null): Promise<unknown> =>
    (await world.rows("select walhook.without_payload($1, 'b') as body", [body]))[0]?.["body"];
  it("has null there, and the others' payloads byte for byte", async () => {
    const body = '[{"id":"a","payload":{"n": 1.10}},{"id":"b","payload":{"x":"]}"}}]';
    const left = '[{"id":"a","payload":{"n": 1.10}},{"id" : "b", "payload" : null}]';
    expect(await without(body)).toBe(left);
  });
  it.each([[null], ['[{"id":"a","payl'], ["text"], ['{"id":"b"}'], ["[1]"], ['[{"id":"a","payload":{}}]']])(
    "that is %s is nothing",
    async (body) => {
      expect(await without(body)).toBeNull();
    },
  );
});
