import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import pg from "pg";
import { tap } from "rxjs";
import { Agent } from "undici";
import type { Chunk } from "../src/decode/chunk.ts";
import type * as CatalogModule from "../src/decode/catalog.ts";
import type * as DecodeModule from "../src/decode/decode.ts";
import type * as CommitTime from "../src/render/commit-time.ts";
import type * as Replication from "../src/replication/replication-stream.ts";
import type { DecoderOrder, DecoderResult } from "./decoder.ts";

/**
 * Walhook's own decoder and nothing behind it: what is read is counted, or posted without conditions, signature and
 * log. Run by `decoder.ts`; it takes the modules of the build whose command line is measured.
 */

const order = JSON.parse(process.argv[2] ?? "{}") as DecoderOrder;
const untilLsn = order.untilLsn === null ? null : parseLsn(order.untilLsn);
// As many at once as the bridge has for one webhook, so that a late start does not open thousands.
const agent = new Agent({ connections: 50, pipelining: 1 });
let changes = 0;
let firstAtMs = 0;
let lastAtMs = 0;
let acknowledgedAtMs = 0;

async function load<T>(module: string): Promise<T> {
  return (await import(pathToFileURL(join(dirname(order.cli), "..", module)).href)) as T;
}

const { openReplication } = await load<typeof Replication>("replication/replication-stream.js");
const { createCatalog } = await load<typeof CatalogModule>("decode/catalog.js");
const { decode } = await load<typeof DecodeModule>("decode/decode.js");
const { isoCommitTime } = await load<typeof CommitTime>("render/commit-time.js");

const pool = new pg.Pool({ connectionString: order.url, max: 1 });
const stream = await openReplication({
  connection: { connectionString: order.url, application_name: "bench decoder" },
  slotName: order.slotName,
  publicationNames: order.publicationNames,
});
const chunks = stream.frames.pipe(
  tap((frame) => {
    if (firstAtMs === 0 && frame.kind === "data") firstAtMs = performance.timeOrigin + performance.now();
  }),
  decode({
    catalog: createCatalog(pool),
    configurationOids: new Map(),
    resumeAfter: { commitLsn: 0n, changeLsn: 0n, index: 0 },
  }),
);
chunks.subscribe({ next: take, error: fail });
process.send?.("ready");

function take(chunk: Chunk): void {
  const nowMs = performance.timeOrigin + performance.now();
  if (chunk.changes.length > 0) {
    lastAtMs = nowMs;
    changes += chunk.changes.length;
    if (order.postTo !== null) for (const change of chunk.changes) post(order.postTo, change);
  }
  stream.release(chunk.bytes);
  if (chunk.flushLsn === 0n) return;
  stream.acknowledge(chunk.flushLsn);
  if (untilLsn !== null && chunk.flushLsn >= untilLsn && acknowledgedAtMs === 0) {
    acknowledgedAtMs = nowMs;
    process.send?.(result());
  }
}

function post(url: string, change: Chunk["changes"][number]): void {
  if (change.kind !== "insert") return;
  const { origin, pathname } = new URL(url);
  const doc = Object.fromEntries(change.relation.columns.map(({ name }, index) => [name, change.new[index]]));
  const timestamp = isoCommitTime(change.transaction.commitTimeUs);
  agent.dispatch(
    {
      origin,
      path: pathname,
      method: "POST",
      headers: [
        "content-type",
        "application/json",
        "webhook-id",
        `msg_${change.position.changeLsn}_${change.position.index}`,
      ],
      body: JSON.stringify({ type: "event.after_insert", timestamp, data: { doc } }),
    },
    {
      onRequestStart: () => {},
      onResponseStart: () => {},
      onResponseData: () => {},
      onResponseEnd: () => {},
      onResponseError: (_, error) => fail(error),
    },
  );
}

function result(): DecoderResult {
  const { user, system } = process.cpuUsage();
  return {
    changes,
    firstAtMs,
    lastAtMs,
    cpuSeconds: (user + system) / 1e6,
    maxMb: process.resourceUsage().maxRSS / 1024,
  };
}

function parseLsn(text: string): bigint {
  const [high = "0", low = "0"] = text.split("/");
  return (BigInt(`0x${high}`) << 32n) | BigInt(`0x${low}`);
}

function fail(error: unknown): void {
  process.stderr.write(`${error instanceof Error ? error.stack : String(error)}\n`);
  // oxlint-disable-next-line unicorn/no-process-exit -- a ceiling with a hole in it is none.
  process.exit(1);
}

process.on("message", () => {
  void stream.stop().finally(() => process.exit());
});
process.on("disconnect", () => process.exit());
