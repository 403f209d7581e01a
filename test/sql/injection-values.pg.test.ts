import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startRawReceiver, type RawReceiver } from "../support/raw-receiver.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
let raw: RawReceiver;

/** Values of a row, by whoever writes into the application. */
const VALUES = [
  `","admin":true,"x":"`,
  `"}]}`,
  `\\", "admin": true`,
  "{{doc.secret}}",
  "{{#json}}doc.secret{{/json}}",
  "{{> partial}}{{=<% %>=}}",
  "${process.env.PATH}",
  "a\r\nX-Evil: 1\r\n\r\nGET /evil HTTP/1.1",
  "a\nX-Evil: 1",
  "../../admin",
  "..%2f..%2fadmin",
  "..",
  "?x=1&y=2#z",
  "@evil.example",
  "//evil.example/",
  "\\\\evil.example",
  "a b\tc",
  "größe 表 🐘",
  "\u2028\u2029",
  "%0d%0aX-Evil: 1",
  "__proto__",
  "<script>alert(1)</script>&amp;",
] as const;

beforeAll(async () => {
  system = await startSystem("injection_values");
  raw = await startRawReceiver();
  await system.app("create table notes (id int primary key, text text, secret text)");
  const base = `http://127.0.0.1:${raw.port}`;
  await system.webhook("body", "notes", "after_insert", {
    request_url: `${base}/body`,
    webhook_json: `{"id":{{doc.id}},"quoted":"{{doc.text}}","json":{{#json}}doc.text{{/json}}}`,
  });
  await system.webhook("url", "notes", "after_insert", {
    request_url: `${base}/url/{{doc.text}}/end?q={{doc.text}}`,
    is_dynamic_url: true,
    webhook_json: `{"id":{{doc.id}}}`,
  });
  await system.webhook("header", "notes", "after_insert", {
    request_url: `${base}/header`,
    webhook_json: `{"id":{{doc.id}}}`,
  });
  await system.admin(
    "insert into walhook.webhook_header (webhook, key, value) values ('header', 'X-Text', 'before {{doc.text}} after')",
  );
  await system.webhook("form", "notes", "after_insert", {
    request_url: `${base}/form`,
    request_structure: "Form URL-Encoded",
  });
  await system.admin("insert into walhook.webhook_data (webhook, fieldname) values ('form', 'id'), ('form', 'text')");
  await system.webhook("proto", "notes", "after_insert", {
    request_url: `${base}/proto`,
    webhook_json: `{"id":{{doc.id}},"a":"{{doc.__proto__}}","b":"{{doc.constructor}}","c":"{{doc.toString}}"}`,
  });
  await system.startBridge();
  for (const [id, text] of VALUES.entries())
    await system.app("insert into notes values ($1, $2, 'top secret')", [id, text]);
  await system.settled(20_000);
});
afterAll(async () => {
  await system.drop();
  await raw[Symbol.asyncDispose]();
});

const of = (path: string): RawReceiver["requests"] => raw.requests.filter(({ target }) => target.startsWith(path));
const idOf = (body: Buffer): unknown => (JSON.parse(body.toString()) as { id: unknown }).id;

describe("a value of a row stays a value", () => {
  it.each(VALUES.map((text, id) => [text, id] as const))("in a body and in a form: %j", (text, id) => {
    const [sent] = of("/body").filter(({ body }) => idOf(body) === id);
    expect(JSON.parse(sent!.body.toString())).toEqual({ id, quoted: text, json: text });
    const [form] = of("/form").filter(({ body }) => new URLSearchParams(body.toString()).get("id") === String(id));
    expect([...new URLSearchParams(form!.body.toString())]).toEqual([
      ["id", String(id)],
      ["text", text],
    ]);
  });

  it.each(VALUES.map((text, id) => [text, id] as const))(
    "in a URL: one part of the path, one part of the query: %j",
    async (text, id) => {
      const [sent] = of("/url/").filter(({ body }) => idOf(body) === id);
      if (sent === undefined) {
        // Refused rather than sent elsewhere: a part that is ".." is taken away by whoever reads the URL.
        const [logged] = await system.look(
          "select outcome, error from walhook.webhook_request_log where webhook = 'url' and docname = $1",
          [id],
        );
        expect([text, logged?.["outcome"]]).toEqual(["..", "error"]);
        return;
      }
      const url = new URL(sent.target, "http://x");
      const parts = url.pathname.split("/");
      expect([parts.length, parts[1], decodeURIComponent(parts[2]!), parts[3]]).toEqual([4, "url", text, "end"]);
      expect([...url.searchParams]).toEqual([["q", text]]);
      expect(url.hash).toBe("");
      expect(sent.headers["host"]).toBe(`127.0.0.1:${raw.port}`);
    },
  );

  it("in a header: no further line, and none that it does not name; what no header can carry is not sent", async () => {
    const names = new Set(raw.requests.flatMap((request) => request.names));
    expect(names.has("x-evil")).toBe(false);
    expect(raw.requests.filter(({ target }) => target.includes("/evil HTTP"))).toEqual([]);
    const log = await system.look("select docname, outcome from walhook.webhook_request_log where webhook = 'header'");
    expect(log).toHaveLength(VALUES.length);
    for (const { headers, body } of of("/header")) {
      expect(headers["x-text"]).not.toMatch(/[\r\n]/);
      expect([idOf(body), headers["x-text"]?.startsWith("before ")]).toEqual([idOf(body), true]);
    }
  });

  it("and no name of an object of the renderer's is a column", async () => {
    const log = await eventually(async () => {
      const rows = await system.look(
        "select distinct outcome, error from walhook.webhook_request_log where webhook = 'proto'",
      );
      return rows.length > 0 ? rows : null;
    });
    for (const { body } of of("/proto")) expect(JSON.parse(body.toString())).toMatchObject({ a: "", b: "", c: "" });
    expect(log.every(({ outcome }) => outcome === "delivered" || outcome === "error")).toBe(true);
  });
});
