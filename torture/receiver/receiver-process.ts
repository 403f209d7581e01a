import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { Webhook } from "standardwebhooks";
import type { Arrival, ReceiverMode } from "./arrival.ts";
import { changeName, deliveryKey, fingerprint, lastingColumns, shortHash } from "./delivery-key.ts";
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
let requests = 0;

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
  const received = describe(request, body, webhook, mode);
  const status = received[0]?.status ?? null;
  await Promise.all(received.map((arrival) => arrivals.append(JSON.stringify(arrival))));
  if (mode === "reset" || mode === "reset after 200") response.destroy();
  if (mode === "slow") await sleep(300 + (requests % 8) * 150);
  if (status === null) return;
  if (mode === "429") response.setHeader("retry-after", "1");
  response.writeHead(status).end();
}

/** What came, one delivery after the other. */
function describe(message: IncomingMessage, body: Buffer, webhook: string, mode: ReceiverMode): readonly Arrival[] {
  const requestId = String(message.headers["webhook-id"]);
  const isSigned = verify(message, body);
  const status = isSigned ? STATUS[mode] : 401;
  const content = JSON.parse(body.toString()) as
    | Payload
    | readonly { readonly id: string; readonly payload: Payload }[];
  const deliveries = "data" in content ? [{ id: requestId, payload: content }] : content;
  const common = {
    request: ++requests,
    requestId,
    requestHash: hashOf(body, deliveries),
    webhook,
    isSigned,
    atMs: Date.now(),
    status,
    mode,
  };
  return deliveries.map(({ id, payload }) => {
    const { data } = payload;
    const doc = data.doc ?? null;
    const rowSeq = (doc?.["seq"] as number | undefined) ?? null;
    const isBackfill = data.event === "backfill";
    return {
      ...common,
      id,
      key: deliveryKey(webhook, data.event, changeName(rowSeq, data.xid)),
      docname: data.name,
      lsn: data.lsn,
      docHash: fingerprint(isBackfill && doc !== null ? lastingColumns(doc) : doc),
      isBackfill,
      rowSeq,
      bodyHash: shortHash(JSON.stringify(payload)),
    };
  });
}

function hashOf(body: Buffer, deliveries: readonly { readonly id: string; readonly payload: Payload }[]): string {
  if (!deliveries.some(({ payload }) => payload.data.event === "backfill")) return shortHash(body);
  return shortHash(
    JSON.stringify(deliveries.map(({ id, payload }) => (payload.data.event === "backfill" ? id : { id, payload }))),
  );
}

/** The parts of the default envelope that matter here. */
interface Payload {
  readonly data: {
    readonly event: string;
    readonly name: string | null;
    readonly doc?: Readonly<Record<string, unknown>>;
    readonly lsn: string;
    readonly xid: number;
  };
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
