import { createHmac, randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Webhook as StandardWebhook } from "standardwebhooks";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Bridge } from "../../src/bridge.ts";
import type { ReceivedRequest } from "../support/receiver.ts";
import { eventually } from "../support/eventually.ts";
import { startSystem, type System } from "../support/system.ts";

const newSecret = (): string => `whsec_${randomBytes(32).toString("base64")}`;
let system: System;
let folder: string;
let bridge: Bridge;
let document = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "walhook-secrets-"));
  system = await startSystem("signing");
  await system.app("create table orders (id int primary key)");
  bridge = await system.startBridge({ secretsFolder: folder });
});
afterAll(async () => {
  await system.drop();
  await rm(folder, { recursive: true, force: true });
});
beforeEach(() => system.admin("delete from walhook.webhook"));

async function send(name: string): Promise<ReceivedRequest> {
  const before = system.received(name).length;
  await system.app("insert into orders values ($1)", [++document]);
  return eventually(() => system.received(name)[before]);
}
function isSignedWith(secret: string, { headers, body }: ReceivedRequest): boolean {
  try {
    new StandardWebhook(secret).verify(body.toString(), headers);
    return true;
  } catch {
    return false;
  }
}
/** What the bridge says of a webhook: `state: last error`. */
async function stateOf(name: string): Promise<string> {
  const [row] = await system.look("select state, last_error from walhook.webhook_state where name = $1", [name]);
  return row === undefined ? "" : `${String(row["state"])}: ${String(row["last_error"])}`;
}

describe("a rotated secret", () => {
  it("signs beside the new one until its grace ends, and not one request longer, whatever else happens", async () => {
    const former = newSecret();
    await system.webhook("rotated", "orders", "after_insert", { enable_security: true, webhook_secret: former });
    expect(isSignedWith(former, await send("rotated"))).toBe(true);
    const [row] = await system.admin(
      "select walhook.rotate_secret('rotated', null, '3 s') as secret, now() + '3 s' as ends",
    );
    const latter = String(row!["secret"]);
    const both = await send("rotated");
    expect([isSignedWith(former, both), isSignedWith(latter, both)]).toEqual([true, true]);
    // A header with one signature only is the former's as long as it signs.
    const frappe = createHmac("sha256", former).update(both.body).digest("base64");
    expect(both.headers["x-frappe-webhook-signature"]).toBe(frappe);

    const endsMs = (row!["ends"] as Date).getTime();
    await eventually(() => Date.now() > endsMs);
    const after = await send("rotated");
    expect([isSignedWith(former, after), isSignedWith(latter, after)]).toEqual([false, true]);
    expect(after.headers["webhook-signature"]!.split(" ")).toHaveLength(1);
  });

  it("sends each format that was asked for, over the bytes on the wire", async () => {
    await system.webhook("formats", "orders", "after_insert", {
      enable_security: true,
      webhook_secret: "a secret",
      signature_formats: "{github,stripe}",
    });
    const { headers, body } = await send("formats");
    const hmac = (data: Buffer | string) => createHmac("sha256", "a secret").update(data).digest("hex");
    expect(headers["x-hub-signature-256"]).toBe(`sha256=${hmac(body)}`);
    const timestamp = headers["webhook-timestamp"]!;
    expect(headers["stripe-signature"]).toBe(`t=${timestamp},v1=${hmac(`${timestamp}.${body.toString()}`)}`);
    expect(headers["webhook-signature"]).toBeUndefined();
  });
});

describe("a secret that stands elsewhere", () => {
  it("signs as it stands there now; where it is not, its webhook is held, visibly, and loses nothing", async () => {
    await system.webhook("file", "orders", "after_insert", { enable_security: true, webhook_secret: "file:w.key" });
    await eventually(async () => /^held: .*w\.key cannot be read by the bridge/.test(await stateOf("file")));
    await system.app("insert into orders values ($1), ($2)", [++document, ++document]);
    await system.caughtUp();
    expect(await system.look("select attempts from walhook.webhook_queue")).toEqual([{ attempts: 0 }, { attempts: 0 }]);
    expect(system.received("file")).toEqual([]);

    const first = newSecret();
    await writeFile(join(folder, "w.key"), `${first}\n`);
    await eventually(() => system.received("file").length === 2);
    expect(system.received("file").every((request) => isSignedWith(first, request))).toBe(true);
    await eventually(async () => (await stateOf("file")).startsWith("ok"));
    await system.settled();
    const log = "select attempt, outcome from walhook.webhook_request_log where webhook = 'file'";
    expect(await system.look(log)).toEqual([
      { attempt: 1, outcome: "delivered" },
      { attempt: 1, outcome: "delivered" },
    ]);

    const second = newSecret();
    await writeFile(join(folder, "w.key"), second);
    await eventually(async () => isSignedWith(second, await send("file")), { everyMs: 200 });
  });

  it("may be in the bridge's environment", async () => {
    const secret = newSecret();
    process.env["WALHOOK_SECRET_TEST"] = secret;
    await system.webhook("env", "orders", "after_insert", {
      enable_security: true,
      webhook_secret: "env:WALHOOK_SECRET_TEST",
    });
    expect(isSignedWith(secret, await send("env"))).toBe(true);
  });

  it("is read nowhere outside of the folder for secrets", async () => {
    await system.webhook("outside", "orders", "after_insert", {
      enable_security: true,
      webhook_secret: "file:../../etc/hostname",
    });
    await eventually(async () => /^held: .*outside of the folder/.test(await stateOf("outside")));
  });

  it("that was put right while the bridge was stopped is no trouble any more", async () => {
    await system.webhook("later", "orders", "after_insert", {
      enable_security: true,
      webhook_secret: "file:later.key",
    });
    await eventually(async () => (await stateOf("later")).startsWith("held"));
    await bridge.stop();
    const secret = newSecret();
    await writeFile(join(folder, "later.key"), secret);
    bridge = await system.startBridge({ secretsFolder: folder });
    expect(isSignedWith(secret, await send("later"))).toBe(true);
    await eventually(async () => (await stateOf("later")).startsWith("ok"));
  });
});
