import { once } from "node:events";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { Webhook } from "standardwebhooks";

/** One request that reached the receiver. */
export interface Received {
  /** The `webhook-id`: equal over attempts. */
  readonly id: string;
  /** What the demo's webhooks say of themselves in headers. */
  readonly webhook: string;
  readonly event: string;
  readonly document: string;
  readonly doctype: string;
  readonly isSigned: boolean;
  /** From the commit to the request's last byte, in milliseconds; null where the request does not say. */
  readonly latencyMs: number | null;
  /** What the receiver answered. */
  readonly status: number;
  readonly receivedAt: Date;
}

export interface Receiver {
  readonly port: number;
  readonly url: string;
  /** Requests are refused until it is known, and come again. */
  setSecret(secret: string): void;
  close(): Promise<void>;
}

/** One request in so many is answered with 503 at its first attempt, so that retries can be seen. */
const FAIL_EVERY = 60;
const PREFERRED_PORT = 54_321;

/**
 * A receiver as one would write it: reads the body, verifies the Standard Webhooks signature over the exact bytes
 * with the public library, and answers.
 */
export async function startReceiver(onRequest: (received: Received) => void): Promise<Receiver> {
  let verifier: Webhook | null = null;
  const refused = new Set<string>();
  let count = 0;
  const server = createServer((request, response) => {
    const answer = async (): Promise<void> => {
      const body = await readBody(request);
      const id = header(request, "webhook-id");
      const isSigned = verifier !== null && verify(verifier, body, request);
      const failsNow = isSigned && ++count % FAIL_EVERY === 0 && !refused.has(id);
      if (failsNow) refused.add(id);
      const status = isSigned ? (failsNow ? 503 : 204) : 401;
      response.writeHead(status).end();
      onRequest({
        id,
        isSigned,
        status,
        webhook: header(request, "x-demo-webhook"),
        event: header(request, "x-demo-event"),
        document: header(request, "x-demo-document"),
        doctype: header(request, "x-demo-doctype"),
        latencyMs: latencyOf(header(request, "x-demo-commit-time")),
        receivedAt: new Date(),
      });
    };
    // A bridge that is killed breaks its requests off.
    answer().catch(() => response.destroy());
  });
  // The same port at every start where it is free, so that nothing has to be told.
  server.listen(PREFERRED_PORT, "127.0.0.1");
  await Promise.race([once(server, "listening"), once(server, "error")]).catch(() => {});
  if (!server.listening) server.listen(0, "127.0.0.1");
  if (!server.listening) await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    setSecret: (secret) => {
      verifier = new Webhook(secret);
    },
    close: async () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

async function readBody(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts).toString("utf8");
}

function verify(verifier: Webhook, body: string, request: IncomingMessage): boolean {
  try {
    verifier.verify(body, request.headers as Record<string, string>, { jsonParse: false });
    return true;
  } catch {
    return false;
  }
}

function header(request: IncomingMessage, name: string): string {
  const value = request.headers[name];
  return typeof value === "string" ? value : "";
}

function latencyOf(commitTime: string): number | null {
  const committedMs = Date.parse(commitTime);
  if (Number.isNaN(committedMs)) return null;
  // Date.parse drops the microseconds.
  const microseconds = Number(/\.\d{3}(\d{3})/.exec(commitTime)?.[1] ?? 0);
  return performance.timeOrigin + performance.now() - committedMs - microseconds / 1000;
}
