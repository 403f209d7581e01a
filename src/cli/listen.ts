import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Command, CommandContext } from "./command.ts";
import { orUsageError, readChoice, readNumber, readSecret, SECRET_FLAGS, usageError } from "./input.ts";
import { answer, RESETS, type Answering } from "./listen-answer.ts";
import { printable } from "./printable.ts";
import { listenForStop } from "./stop-signal.ts";
import { TOLERANCE_SECONDS } from "./verify.ts";
import { parseVerificationKeys, type VerificationKey } from "./verification/verification-key.ts";
import { verifySignatures } from "./verification/verify-signatures.ts";

/** More of a body is counted, but neither kept nor verified. */
const MAX_BODY_BYTES = 64 * 1024 * 1024;
/** So much of a body is printed, unless --full. */
const SHOWN_BYTES = 4_096;
const MAX_MS = 3_600_000;

/** `walhook listen`: a receiver for development. */
export const listen: Command = {
  name: "listen",
  summary: "receives webhooks, prints and verifies them, and answers as it is told (for development)",
  description: [
    "Listens for requests and prints each with its headers, its body and what is to be said of its signatures. It answers at " +
      "once with --status, or misbehaves as the flags say. Ctrl-C ends it. Needs no database.",
    "A wrong signature is printed, and answered all the same; with --strict it is answered 401. The question of a webhook " +
      "with handshake (OPTIONS with WebHook-Request-Origin) is answered with consent, unless --status is no success.",
  ],
  options: [],
  switches: [
    { flag: "strict", help: "answers 401 where a signature is wrong or there is none" },
    { flag: "full", help: `prints bodies whole, not their first ${SHOWN_BYTES} bytes` },
  ],
  values: [
    { flag: "port", unit: "port", help: "default 8080; 0: any that is free" },
    { flag: "host", unit: "address", help: "default 127.0.0.1; 0.0.0.0 listens on every address" },
    ...SECRET_FLAGS,
    { flag: "status", unit: "code", help: "the status that it answers with; default 200" },
    { flag: "answer", unit: "text", help: "the body of the answer; default ok" },
    { flag: "location", unit: "url", help: "the header location of the answer" },
    { flag: "retry-after", unit: "value", help: "the header retry-after of the answer" },
    { flag: "delay-ms", unit: "ms", help: "waits so long before it answers" },
    { flag: "drip-ms", unit: "ms", help: "sends the answer's body byte by byte, so long apart" },
    { flag: "reset", unit: "when", help: "resets the connection: before it answers, after the head, or amid the body" },
  ],
  examples: [
    "WEBHOOK_SECRET=whsec_… walhook listen",
    "walhook listen --port 9000 --status 503 --retry-after 30",
    "walhook listen --delay-ms 10000",
    "walhook listen --reset body",
  ],
  exitCodes: ["0  stopped", "2  wrong flag or secret, or the port is in use"],
  run: async (context) => {
    const secret = await readSecret(context);
    const keys = secret === null ? null : orUsageError(() => parseVerificationKeys(secret));
    const how = readAnswering(context);
    const host = context.values["host"] ?? "127.0.0.1";
    const port = readNumber(context.values, "port", 0, 65_535, 8080);
    const stop = listenForStop(() => {});
    const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
      handle(request, response, { context, keys, how, signal: stop.signal }).catch((error: unknown) => {
        context.print(`  ${String(error)}`);
        response.destroy();
      });
    });
    try {
      await new Promise<void>((resolve, reject) => {
        server.once("error", reject);
        server.listen(port, host, resolve);
      });
    } catch (error) {
      stop.close();
      throw usageError(
        `listening on ${host}:${port}: ${String(error)}`,
        "Give another --port, or 0 for any that is free.",
      );
    }
    const { port: chosen, address, family } = server.address() as AddressInfo;
    context.print(`listening on http://${family === "IPv6" ? `[${address}]` : address}:${chosen}/`);
    if (keys === null) context.print("no secret given, so nothing is verified: set WEBHOOK_SECRET, or give --secret");
    await stop.requested;
    server.close();
    server.closeAllConnections();
    stop.close();
    return 0;
  },
};

interface Handling {
  readonly context: CommandContext;
  readonly keys: readonly VerificationKey[] | null;
  readonly how: Answering;
  readonly signal: AbortSignal;
}

async function handle(request: IncomingMessage, response: ServerResponse, handling: Handling): Promise<void> {
  const { context, keys, how, signal } = handling;
  const { body, bytes } = await readBody(request);
  const lines = [`${new Date().toISOString()} ${request.method} ${printable(request.url ?? "/")} ${bytes} bytes`];
  for (let index = 0; index < request.rawHeaders.length; index += 2) {
    lines.push(`  ${printable(`${request.rawHeaders[index]}: ${request.rawHeaders[index + 1]}`)}`);
  }
  const origin = request.method === "OPTIONS" ? request.headers["webhook-request-origin"] : undefined;
  // Nothing signs the question.
  let isRight = keys === null || origin !== undefined;
  if (keys !== null && origin === undefined) {
    const headers = request.headers as Readonly<Record<string, string | undefined>>;
    const nowSeconds = Math.floor(Date.now() / 1000);
    const findings = verifySignatures({ headers, body }, { keys, nowSeconds, toleranceSeconds: TOLERANCE_SECONDS });
    isRight = findings.size > 0 && [...findings.values()].every(({ ok }) => ok);
    if (findings.size === 0) lines.push("  signature: there is none");
    for (const [header, { ok, reason }] of findings) {
      lines.push(`  signature ${ok ? "ok" : "REFUSED"}: ${header}, ${printable(reason)}`);
    }
  }
  const shown = context.switches.has("full") ? body : body.subarray(0, SHOWN_BYTES);
  // Behind a mark: what is printed of a body must not look like a line of ours.
  const text = printable(shown.toString("utf8")) + (shown.length < bytes ? "…" : "");
  if (text !== "") lines.push(...text.split("\n").map((line) => `  | ${line}`));
  // In one piece, so that requests that come at once are not mixed.
  context.print(lines.join("\n"));
  const isRefused = context.switches.has("strict") && !isRight;
  const consent = { "webhook-allowed-origin": String(origin), "webhook-allowed-rate": "*" };
  const now = {
    ...how,
    ...(isRefused ? { status: 401 } : {}),
    ...(origin === undefined ? {} : { headers: { ...how.headers, ...consent } }),
  };
  context.print(`  ${await answer(response, now, signal)}`);
}

async function readBody(request: IncomingMessage): Promise<{ readonly body: Buffer; readonly bytes: number }> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of request) {
    bytes += (part as Buffer).length;
    if (bytes <= MAX_BODY_BYTES) parts.push(part as Buffer);
  }
  return { body: Buffer.concat(parts), bytes };
}

function readAnswering({ values }: CommandContext): Answering {
  const headers: Record<string, string> = { "content-type": "text/plain; charset=utf-8" };
  for (const name of ["location", "retry-after"]) {
    const value = values[name];
    if (value !== undefined) headers[name] = value;
  }
  return {
    status: readNumber(values, "status", 200, 599, 200),
    headers,
    body: values["answer"] ?? "ok",
    delayMs: readNumber(values, "delay-ms", 0, MAX_MS, 0),
    dripMs: readNumber(values, "drip-ms", 0, MAX_MS, 0),
    reset: values["reset"] === undefined ? null : readChoice(values, "reset", RESETS, "before"),
  };
}
