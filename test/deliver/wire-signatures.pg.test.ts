import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HTTP, type CloudEvent } from "cloudevents";
import { afterAll, beforeAll, expect, it } from "vitest";
import { CERTIFICATES } from "../support/certificates.ts";
import { startHttpProxy, startSocksProxy, type TestProxy } from "../support/proxy.ts";
import { startRawReceiver, type RawReceiver, type RawRequest } from "../support/raw-receiver.ts";
import { expectSigned, WHSEC, WHSK } from "../support/signed-requests.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
let plain: RawReceiver;
let tls: RawReceiver;
let proxies: Readonly<Record<string, TestProxy>>;
let folder: string;
beforeAll(async () => {
  system = await startSystem("wire");
  [plain, tls] = [await startRawReceiver(), await startRawReceiver({ tls: true })];
  proxies = { http: await startHttpProxy(), socks5: await startSocksProxy("socks5") };
  folder = await mkdtemp(join(tmpdir(), "walhook-wire-"));
  await writeFile(join(folder, "partner.ca.pem"), CERTIFICATES.authority);
  await system.app("create table orders (id int primary key, note text, total numeric)");
  await system.startBridge({ tlsDirectory: folder });
});
afterAll(async () => {
  await system.drop();
  for (const server of [plain, tls, ...Object.values(proxies)]) await server[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

/** What each webhook sends, by which way, and the columns that say so. */
const WEBHOOKS: readonly [
  name: string,
  way: "straight" | "http" | "socks5",
  columns: Readonly<Record<string, unknown>>,
][] = [
  ["envelope", "straight", {}],
  ["form", "straight", { request_structure: "Form URL-Encoded", request_method: "PUT" }],
  [
    "template",
    "http",
    { webhook_json: '{"n": "{{doc.note}}", "row": {{#json}}doc{{/json}}}', request_method: "PATCH" },
  ],
  ["structured", "http", { payload_format: "cloudevents-structured" }],
  ["binary", "socks5", { payload_format: "cloudevents-binary", request_method: "DELETE" }],
  ["batch", "straight", { batch_size: 10 }],
  ["cloudevents-batch", "http", { batch_size: 10, payload_format: "cloudevents-structured" }],
];

it("a bridge's requests are, byte for byte on the wire, what each signature beside them was made over", async () => {
  const names: string[] = [];
  for (const [kind, way, columns] of WEBHOOKS) {
    for (const scheme of ["http", "https"]) {
      const name = `${kind}-${scheme}`;
      names.push(name);
      await system.webhook(name, "orders", "after_insert, on_update, on_trash", {
        request_url: `${scheme}://localhost:${scheme === "http" ? plain.port : tls.port}/${name}`,
        proxy: proxies[way]?.url ?? "direct",
        tls_profile: scheme === "https" ? "partner" : null,
        enable_security: true,
        webhook_secret: WHSEC,
        signature_formats: "{standard,frappe,github,stripe}",
        ...columns,
      });
      await system.admin("select walhook.add_secret($1, $2)", [name, WHSK]);
    }
  }
  await system.app(
    `insert into orders values (1, 'Zoë "€" 😀', 12345678901234567890.10), (2, null, 'NaN'), (3, E'a\\r\\nb', -0.0);
     update orders set note = note || '\\';
     delete from orders where id < 3`,
  );
  await system.settled();
  const requests: readonly RawRequest[] = [...plain.requests, ...tls.requests];
  const pathOf = ({ target }: RawRequest): string => target.replace(/^.*\//, "");
  expect(new Set(requests.map(pathOf))).toEqual(new Set(names));
  for (const request of requests) {
    expectSigned(request, { symmetric: true, ed25519: true });
    const columns = WEBHOOKS.find(([kind]) => pathOf(request).replace(/-https?$/, "") === kind)![2];
    expect(request.method).toBe(columns["request_method"] ?? "POST");
    if (columns["payload_format"] === undefined) continue;
    const found = [HTTP.toEvent({ headers: request.headers, body: request.body.toString() })].flat() as CloudEvent[];
    for (const event of found) {
      expect(event.validate()).toBe(true);
      expect(event.source).toMatch(/^\/walhook\/[^/]+\/public\.orders$/);
      expect(event.type).toMatch(/^orders\.(after_insert|on_update|on_trash)$/);
      expect(["1", "2", "3"]).toContain(event.subject);
    }
  }
  // The log names the deliveries by the ids that receivers saw.
  const single = requests.filter((request) => pathOf(request) === "binary-http");
  const logged = await system.look(
    "select delivery_id from walhook.webhook_request_log where webhook = 'binary-http' and outcome = 'delivered'",
  );
  expect(new Set(single.map(({ headers }) => headers["ce-id"]))).toEqual(
    new Set(logged.map((row) => row["delivery_id"])),
  );
});
