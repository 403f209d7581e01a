import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { percentile } from "./percentile.ts";
import type { Answer, Behaviour, Instruction, Tally } from "./receiver-protocol.ts";

/** An HTTP endpoint in a process of its own, told by its parent how to behave. Run by `receiver.ts`. */

const STEADY_MS = 20;
const SLOW_MS = 10_000;
const DRIP_EVERY_MS = 500;
/** Enough for the envelope's time stamp and the row's first columns. */
const LOOK_AT_CHARACTERS = 2000;

let behaviour: Behaviour = "accept";
let count = fresh();
const ids = new Set<string>();
/** How far each document is: the highest `n` that has come. */
const versions = new Map<string, number>();

const server = createServer((request, response) => {
  const arrivedAtMs = performance.timeOrigin + performance.now();
  // Requests that began before a reset are counted there: an aborted one is noticed late.
  const mine = count;
  mine.open++;
  mine.mostAtOnce = Math.max(mine.mostAtOnce, mine.open);
  response.once("close", () => mine.open--);
  let body = "";
  request.setEncoding("latin1");
  request.on("data", (part: string) => {
    if (body.length < LOOK_AT_CHARACTERS) body += part.slice(0, LOOK_AT_CHARACTERS);
  });
  request.once("end", () => {
    notice(request, body, arrivedAtMs);
    respond(response);
  });
});
server.keepAliveTimeout = 60_000;

function notice(request: IncomingMessage, body: string, arrivedAtMs: number): void {
  count.requests++;
  count.firstAtMs ??= arrivedAtMs;
  count.lastAtMs = arrivedAtMs;
  const committedAt = /"timestamp":"([^"]+)"/.exec(body)?.[1];
  if (committedAt !== undefined) count.latencies.push(arrivedAtMs - millisecondsOf(committedAt));
  const id = String(request.headers["webhook-id"]);
  if (ids.has(id)) count.repeated++;
  else {
    ids.add(id);
    inspectOrder(String(request.url), body);
  }
}

/** A row that starts with `id` and `n` is a document whose `n` grows. */
function inspectOrder(path: string, body: string): void {
  const [, document, n] = /"doc":\{"id":(\d+),"n":(\d+)/.exec(body) ?? [];
  if (document === undefined) return;
  const key = `${path} ${document}`;
  const version = Number(n);
  const known = versions.get(key);
  if (known !== undefined && version < known) count.inverted++;
  // A document that never changes needs no entry.
  else if (version > 0) versions.set(key, version);
}

/** With the microseconds that Date.parse drops. */
function millisecondsOf(iso: string): number {
  return Date.parse(iso) + Number(`0.${/\.\d{3}(\d+)/.exec(iso)?.[1] ?? "0"}`);
}

function respond(response: ServerResponse): void {
  switch (behaviour) {
    case "hang":
      return;
    case "steady":
      setTimeout(() => response.end("ok"), STEADY_MS);
      return;
    case "slow":
      setTimeout(() => response.end("ok"), SLOW_MS);
      return;
    case "drip": {
      response.writeHead(200);
      const timer = setInterval(() => response.write("."), DRIP_EVERY_MS);
      response.once("close", () => clearInterval(timer));
      return;
    }
    case "fail":
      response.writeHead(500).end("no");
      return;
    case "accept":
    case "refuse":
      response.end("ok");
      return;
    default:
      behaviour satisfies never;
  }
}

function fresh() {
  return {
    requests: 0,
    repeated: 0,
    inverted: 0,
    open: 0,
    mostAtOnce: 0,
    firstAtMs: null as number | null,
    lastAtMs: null as number | null,
    latencies: [] as number[],
  };
}

function tally(): Tally {
  const { latencies, ...rest } = count;
  const sorted = Float64Array.from(latencies).toSorted();
  const latencyMs =
    sorted.length === 0
      ? null
      : { p50: percentile(sorted, 0.5), p99: percentile(sorted, 0.99), max: percentile(sorted, 1) };
  return { ...rest, distinct: ids.size, latencyMs };
}

let port = 0;

async function behave(as: Behaviour): Promise<void> {
  const wasListening = server.listening;
  behaviour = as;
  if (as === "refuse" && wasListening) {
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  } else if (as !== "refuse" && !wasListening) await listen();
  // Requests that hang, drip or are slow do so to their end.
}

async function listen(): Promise<void> {
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", 4096, resolve));
  ({ port } = server.address() as AddressInfo);
}

process.on("message", (instruction: Instruction) => {
  void follow(instruction).then((answer) => process.send?.(answer));
});
process.on("disconnect", () => process.exit());

async function follow(instruction: Instruction): Promise<Answer> {
  switch (instruction.kind) {
    case "behave":
      await behave(instruction.as);
      return { kind: "done" };
    case "reset":
      count = fresh();
      return { kind: "done" };
    case "report":
      return { kind: "tally", tally: tally() };
    default:
      return instruction satisfies never;
  }
}

await listen();
process.send?.({ kind: "listening", port } satisfies Answer);
