import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Webhook as StandardWebhook } from "standardwebhooks";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { toJwk } from "../../src/cli/keys-jwks.ts";
import { main } from "../../src/cli/main.ts";
import { decodeKey } from "../../src/deliver/signing-key.ts";

const WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const BODY = '{"test": 2432232314}';
const SIGNED = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
const HEADERS = `webhook-id: msg_p5jXN8AQM9LWM0D4loKWxJek\nWebhook-Timestamp: 1614265330\nwebhook-signature: ${SIGNED}\n`;
let folder: string;
let body: string;
let headers: string;

async function file(name: string, text: string): Promise<string> {
  await writeFile(join(folder, name), text);
  return join(folder, name);
}
/** Runs a command without a database. */
async function walhook(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  let out = "";
  let err = "";
  const code = await main(args, env, { out: (text) => (out += text), err: (text) => (err += text) });
  return { code, out, err, lines: out.trimEnd().split("\n") };
}
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "walhook-cli-"));
  body = await file("body.json", BODY);
  headers = await file("headers.txt", HEADERS);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe("walhook verify", () => {
  const at = ["--at", "1614265330"];
  it("accepts a request from files, the secret from the environment, a flag or a file", async () => {
    const files = ["verify", "--headers", headers, "--body", body, ...at];
    const accepted = { code: 0, out: "webhook-signature: ok, v1 by the secret\n", err: "" };
    expect(await walhook(files, { WEBHOOK_SECRET: WHSEC })).toMatchObject(accepted);
    expect(await walhook([...files, "--secret", WHSEC])).toMatchObject(accepted);
    expect(await walhook([...files, "--secret-file", await file("secret", `${WHSEC}\n`)])).toMatchObject(accepted);
  });
  it("accepts headers as JSON, by flags, or a whole request as it came over the wire", async () => {
    const env = { WEBHOOK_SECRET: WHSEC };
    const json = await file("headers.json", JSON.stringify({ "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek" }));
    const flags = ["--headers", json, "--timestamp", "1614265330", "--signature", SIGNED];
    expect(await walhook(["verify", "--body", body, ...flags, ...at], env)).toMatchObject({ code: 0 });
    const wire = `POST /hook HTTP/1.1\r\nHost: x\r\n${HEADERS.replaceAll("\n", "\r\n")}\r\n${BODY}`;
    const request = await file("request", wire);
    expect(await walhook(["verify", "--request", request, ...at], env)).toMatchObject({ code: 0 });
  });
  it("refuses with exit code 1, and says why, where any signature is wrong or there is none", async () => {
    const env = { WEBHOOK_SECRET: WHSEC };
    const verify = ["verify", "--headers", headers, "--body", body];
    const late = await walhook(verify, env);
    expect(late).toMatchObject({ code: 1, out: expect.stringMatching(/refused, the timestamp is \d+ s old/) });
    const mixed = await walhook([...verify, ...at, "--github-signature", "sha256=00"], env);
    expect(mixed.code).toBe(1);
    expect(mixed.lines[0]).toBe("webhook-signature: ok, v1 by the secret");
    expect(mixed.lines[1]).toMatch(/^x-hub-signature-256: refused/);
    const none = await walhook(["verify", "--id", "x", "--body", body], env);
    expect(none).toMatchObject({ code: 1, out: expect.stringContaining("there is none of the headers") });
  });
  it("refuses no secret, an empty one and files that are not there with exit code 2, and shows no secret", async () => {
    expect(await walhook(["verify", "--body", body])).toMatchObject({
      code: 2,
      err: expect.stringContaining("no secret"),
    });
    for (const secret of ["", "whsec_", "whsec_s3cret!"]) {
      const refused = await walhook(["verify", "--body", body, "--secret", secret]);
      expect(refused.code).toBe(2);
      expect(refused.err).toContain("walhook.webhook shows *** in its place");
      expect(refused.err).not.toContain("s3cret");
    }
    expect(await walhook(["verify", "--secret", "x", "--body", "/nowhere"])).toMatchObject({ code: 2 });
    expect(await walhook(["verify", "--secret", "x", "--headers", "-"])).toMatchObject({ code: 2 });
  });
});

describe("walhook sign", () => {
  it("prints the headers of the vector", async () => {
    const args = ["sign", "--body", body, "--id", "msg_p5jXN8AQM9LWM0D4loKWxJek", "--timestamp", "1614265330"];
    const { code, out } = await walhook(args, { WEBHOOK_SECRET: WHSEC });
    expect([code, out]).toEqual([0, HEADERS.replace("Webhook-Timestamp", "webhook-timestamp")]);
  });
  it("prints what `verify` and the library accept, in every form, with several secrets", async () => {
    const [whsk, whpk] = (await walhook(["keys", "generate", "--kind", "ed25519"])).lines;
    const args = ["sign", "--body", body, "--formats", "standard,frappe,github,stripe"];
    const { out } = await walhook(args, { WEBHOOK_SECRET: `${WHSEC} ${whsk}` });
    const signed = await file("signed.txt", out);
    const verify = ["verify", "--headers", signed, "--body", body];
    const both = await walhook([...verify, "--secret", `${WHSEC} ${whpk}`]);
    expect(both.code).toBe(0);
    expect(both.lines).toHaveLength(4);
    const found = Object.fromEntries(
      out
        .trimEnd()
        .split("\n")
        .map((line) => line.split(": ", 2)),
    );
    expect(new StandardWebhook(WHSEC).verify(BODY, found)).toEqual({ test: 2432232314 });
    const asymmetric = await walhook([...verify, "--secret", whpk!]);
    expect(asymmetric.lines[0]).toBe("webhook-signature: ok, v1a by the secret");
  });
  it("refuses a format that there is not, or that its keys cannot make", async () => {
    const [whsk = ""] = (await walhook(["keys", "generate", "--kind", "ed25519"])).lines;
    const refused = (formats: string) => walhook(["sign", "--body", body, "--secret", whsk, "--formats", formats]);
    expect(await refused("slack")).toMatchObject({ code: 2, err: expect.stringContaining("slack") });
    expect(await refused("github")).toMatchObject({
      code: 2,
      err: expect.stringContaining("needs a symmetric secret"),
    });
    const open = await walhook([
      "sign",
      "--body",
      body,
      "--secret",
      "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=",
    ]);
    expect(open).toMatchObject({ code: 2, err: expect.stringContaining("public key") });
  });
});

describe("walhook keys", () => {
  it("generate makes a secret of so many bytes, or a pair of keys, anew each time, without a database", async () => {
    const [first, second] = [await walhook(["keys", "generate"]), await walhook(["keys", "generate", "--bytes", "64"])];
    expect(Buffer.from(first.out.slice(6), "base64")).toHaveLength(32);
    expect(Buffer.from(second.out.slice(6), "base64")).toHaveLength(64);
    const [whsk, whpk] = (await walhook(["keys", "generate", "--kind", "ed25519"])).lines;
    expect(decodeKey(whsk!)).toMatchObject({ publicKey: whpk });
    expect(await walhook(["keys", "generate", "--kind", "rsa"])).toMatchObject({ code: 2 });
    expect(await walhook(["keys", "generate", "--bytes", "23"])).toMatchObject({ code: 2 });
  });
  it("jwks needs a database", async () => {
    expect(await walhook(["keys", "jwks"])).toMatchObject({
      code: 2,
      err: expect.stringContaining("Set DATABASE_URL"),
    });
  });
  it("show a key of RFC 8037 with the thumbprint that the RFC gives for it", () => {
    const x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    expect(toJwk(`whpk_${Buffer.from(x, "base64url").toString("base64")}`)).toEqual({
      kty: "OKP",
      crv: "Ed25519",
      x,
      kid: "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
      use: "sig",
      alg: "EdDSA",
    });
  });
});
