import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { Webhook } from "standardwebhooks";
import type { Arrival, ReceiverMode } from "./arrival.ts";
import { changeName, deliveryKey, fingerprint, shortHash } from "./delivery-key.ts";
import { DurableFile } from "./durable-file.ts";

/** What the parent process may say. */
export type ReceiverOrder =
  | { readonly kind: "behave"; readonly webhook: string; readonly mode: ReceiverMode }
  /** Closes the door, or opens it again. */
  | { readonly kind: "listen"; readonly isOpen: boolean };

const [file = "", secret = ""] = process.argv.slice(2);
const verifier = new Webhook(secret);
const arrivals = new DurableFile(file);
const modes = new Map<string, ReceiverMode>();
let count = 0;

const server = createServer((request, response) => {
  // A bridge that is killed breaks its requests off.
  answer(request, response).catch(() => response.destroy());
});
server.keepAliveTimeout = 60_000;
server.listen(0, "127.0.0.1", () => {
  const { port } = server.address() as AddressInfo;
  process.send?.({ port });
  process.on("message", (order: ReceiverOrder) => obey(order, port));
});
process.once("disconnect", () => process.exit());

function obey(order: ReceiverOrder, port: number): void {
  if (order.kind === "behave") {
    modes.set(order.webhook, order.mode);
  } else if (order.isOpen) {
    server.listen(port, "127.0.0.1");
  } else {
    server.close();
    server.closeAllConnections();
  }
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const body = await readBody(request);
  const webhook = (request.url ?? "/").slice(1);
  const mode = modes.get(webhook) ?? "well";
  const arrival = describe(request, body, webhook, mode);
  await arrivals.append(JSON.stringify(arrival));
  if (mode === "reset" || mode === "reset after 200") response.destroy();
  if (mode === "slow") await sleep(300 + (count++ % 8) * 150);
  if (arrival.status === null) return;
  if (mode === "429") response.setHeader("retry-after", "1");
  response.writeHead(arrival.status).end();
}

function describe(request: IncomingMessage, body: Buffer, webhook: string, mode: ReceiverMode): Arrival {
  const isSigned = verify(request, body);
  const { data } = JSON.parse(body.toString()) as { readonly data: Data };
  const rowSeq = data.doc?.["seq"] as number | undefined;
  return {
    id: String(request.headers["webhook-id"]),
    key: deliveryKey(webhook, data.event, changeName(rowSeq ?? null, data.xid)),
    docname: data.name,
    lsn: data.lsn,
    docHash: fingerprint(data.doc ?? null),
    bodyHash: shortHash(body),
    isSigned,
    atMs: Date.now(),
    status: isSigned ? STATUS[mode] : 401,
    mode,
  };
}

/** The parts of the default envelope's `data` that matter here. */
interface Data {
  readonly event: string;
  readonly name: string | null;
  readonly doc?: Readonly<Record<string, unknown>>;
  readonly lsn: string;
  readonly xid: number;
}

const STATUS: Readonly<Record<ReceiverMode, number | null>> = {
  well: 200,
  slow: 200,
  "reset after 200": 200,
  "500": 500,
  "429": 429,
  hang: null,
  reset: null,
};

function verify(request: IncomingMessage, body: Buffer): boolean {
  try {
    verifier.verify(body.toString(), request.headers as Record<string, string>, { jsonParse: false });
    return true;
  } catch {
    return false;
  }
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts);
}
