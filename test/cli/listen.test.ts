import { once } from "node:events";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { createInterface } from "node:readline";
import { afterEach, describe, expect, it } from "vitest";
import { signatureHeaders } from "../../src/deliver/sign.ts";
import { decodeKey } from "../../src/deliver/signing-key.ts";
import { eventually } from "../support/eventually.ts";
import { startCli, type CliProcess } from "../support/walhook-cli.ts";

const SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const running: CliProcess[] = [];
afterEach(async () => {
  for (const { child } of running) child.kill("SIGTERM");
  await Promise.all(running.splice(0).map(({ ended }) => ended));
});

interface Listener {
  readonly cli: CliProcess;
  readonly url: string;
  readonly printed: readonly string[];
}
async function listen(...flags: readonly string[]): Promise<Listener> {
  const cli = startCli(["listen", "--port", "0", ...flags]);
  running.push(cli);
  const printed: string[] = [];
  createInterface({ input: cli.child.stdout! }).on("line", (line) => printed.push(line));
  const first = await eventually(() => printed[0]);
  return { cli, url: first.replace(/^listening on /, ""), printed };
}

/** All that was printed, once these words are there. */
async function printedUntil(printed: readonly string[], words: string): Promise<string> {
  await eventually(() => printed.some((line) => line.includes(words)));
  return printed.join("\n");
}

interface Answered {
  readonly status: number | null;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: string;
  readonly error: string | null;
  readonly ms: number;
}
/** Never rejects: what came before the connection broke is what is of interest. */
async function post(
  url: string,
  body: string,
  headers: Readonly<Record<string, string>> = {},
  method = "POST",
): Promise<Answered> {
  const began = performance.now();
  const outcome = { status: null as number | null, headers: {}, body: "", error: null as string | null };
  const request = httpRequest(url, { method, headers, agent: false });
  // One after the answer has begun is the answer's as well.
  request.on("error", () => {});
  request.end(body);
  try {
    const [response] = (await once(request, "response")) as [IncomingMessage];
    outcome.status = response.statusCode ?? null;
    outcome.headers = response.headers;
    for await (const part of response) outcome.body += String(part);
  } catch (error) {
    outcome.error = (error as NodeJS.ErrnoException).code ?? String(error);
  }
  return { ...outcome, ms: performance.now() - began };
}
function signed(body: string, secret = SECRET): Record<string, string> {
  return Object.fromEntries(
    signatureHeaders({
      keys: [decodeKey(secret)],
      formats: ["standard", "frappe", "github", "stripe"],
      id: "msg_1",
      timestampSeconds: Math.floor(Date.now() / 1000),
      body: Buffer.from(body),
    }),
  );
}

describe("walhook listen", () => {
  it("consents to a handshake, which nothing signs, unless it is told to refuse", async () => {
    const question = { "webhook-request-origin": "shop.example.com" };
    const { url } = await listen("--secret", SECRET, "--strict");
    expect(await post(url, "", question, "OPTIONS")).toMatchObject({
      status: 200,
      headers: { "webhook-allowed-origin": "shop.example.com", "webhook-allowed-rate": "*" },
    });
    expect(await post(url, "", question)).toMatchObject({ status: 401 });
    const refusing = await listen("--status", "405");
    expect(await post(refusing.url, "", question, "OPTIONS")).toMatchObject({ status: 405 });
  });

  it("prints its address, each request, and what is to be said of each form of signature", async () => {
    const { url, printed, cli } = await listen("--secret", SECRET);
    expect(await post(`${url}hook?a=1`, '{"a": 1}', signed('{"a": 1}'))).toMatchObject({ status: 200, body: "ok" });
    const text = await printedUntil(printed, "answered 200");
    expect(text).toMatch(/POST \/hook\?a=1 8 bytes/);
    expect(text).toContain("  webhook-id: msg_1");
    for (const header of [
      "webhook-signature",
      "x-frappe-webhook-signature",
      "x-hub-signature-256",
      "stripe-signature",
    ]) {
      expect(text).toContain(`  signature ok: ${header}, `);
    }
    expect(text).toContain('  | {"a": 1}');
    cli.child.kill("SIGINT");
    expect(await cli.ended).toMatchObject({ code: 0, err: "" });
  });

  it("says that a signature is wrong and answers all the same; with --strict it answers 401", async () => {
    const lax = await listen("--secret", SECRET);
    expect(await post(lax.url, "{}", signed("{}", "another"))).toMatchObject({ status: 200 });
    await eventually(() =>
      lax.printed.some((line) => /signature REFUSED: webhook-signature, v1 was made with/.test(line)),
    );
    const strict = await listen("--secret", SECRET, "--strict", "--status", "204");
    expect(await post(strict.url, "{}")).toMatchObject({ status: 401 });
    expect(await post(strict.url, "{}", signed("{}"))).toMatchObject({ status: 204, body: "" });
  });

  it("answers with a chosen status, headers and body, after a delay, byte by byte", async () => {
    const { url } = await listen(
      "--status",
      "503",
      "--retry-after",
      "30",
      "--answer",
      "later",
      "--delay-ms",
      "100",
      "--drip-ms",
      "30",
    );
    const answered = await post(url, "{}");
    expect(answered).toMatchObject({ status: 503, body: "later", headers: { "retry-after": "30" } });
    // 100 ms, then four gaps of 30 between five bytes; timers may be early by one.
    expect(answered.ms).toBeGreaterThan(210);
  });

  it("resets the connection before its answer, after the head, or amid the body", async () => {
    const [before, head, body] = [
      await listen("--reset", "before"),
      await listen("--reset", "head"),
      await listen("--reset", "body", "--answer", "12345678"),
    ];
    expect(await post(before.url, "{}")).toMatchObject({ status: null, error: "ECONNRESET" });
    expect(await post(head.url, "{}")).toMatchObject({ status: 200, body: "", error: "ECONNRESET" });
    expect(await post(body.url, "{}")).toMatchObject({ status: 200, body: "1234", error: "ECONNRESET" });
  });

  it("lets no request write to the terminal what is not text, or look like a line of its own", async () => {
    const { url, printed } = await listen("--secret", SECRET);
    await post(url, "\u001b[2J\n  signature ok: webhook-signature, v1 by the secret\r\u202e");
    const text = await printedUntil(printed, "answered");
    for (const character of ["\u001b", "\r", "\u202e"]) expect(text).not.toContain(character);
    expect(text).toContain("  | \\u{1b}[2J");
    expect(text).not.toMatch(/^ {2}signature ok/m);
    expect(text).toContain("  signature: there is none");
  });

  it("says so where its port is taken, or a flag is wrong", async () => {
    const { url } = await listen();
    const taken = startCli(["listen", "--port", new URL(url).port]);
    expect(await taken.ended).toMatchObject({ code: 2, err: expect.stringContaining("EADDRINUSE") });
    const wrong = startCli(["listen", "--reset", "sometimes"]);
    expect(await wrong.ended).toMatchObject({ code: 2, err: expect.stringContaining("before, head, body") });
  });
});
