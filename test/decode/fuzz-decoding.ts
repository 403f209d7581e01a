import { Subject } from "rxjs";
import { type Catalog, toRelation } from "../../src/decode/catalog.ts";
import type { CatalogAnswer } from "../../src/decode/catalog-query.ts";
import type { Chunk } from "../../src/decode/chunk.ts";
import { decode } from "../../src/decode/decode.ts";
import { START, type Position } from "../../src/decode/position.ts";
import type { RowChange } from "../../src/decode/row-change.ts";
import type { Frame } from "../../src/replication/frame.ts";
import { ROOT_OID, WEBHOOK_OID, type Below, type FuzzFrame } from "./fuzz-stream.ts";

/** What came out of a stream. */
export interface Decoded {
  readonly chunks: readonly Chunk[];
  /** Each change in one line, to be compared. */
  readonly changes: readonly string[];
  readonly errors: readonly unknown[];
  readonly isComplete: boolean;
}

const ANSWER: CatalogAnswer = {
  tables: new Map([
    [
      ROOT_OID,
      {
        isPartitioned: true,
        key: ["id", "part"],
        partitionedBy: ["part"],
        references: [],
        columns: ["id", "part", "note"].map((name) => ({ name, isGenerated: false })),
      },
    ],
  ]),
  types: new Map(),
};

/** Decodes frames in bursts, with a catalog that answers sooner or later. What a frame points to is gone when it has been read. */
export async function decodeFrames(
  frames: readonly FuzzFrame[],
  below: Below,
  resumeAfter: Position = START,
): Promise<Decoded> {
  const source = new Subject<Frame>();
  const chunks: Chunk[] = [];
  const changes: string[] = [];
  const errors: unknown[] = [];
  let isComplete = false;
  const catalog: Catalog = {
    describeRelation: async (message) => {
      for (let turns = below(4); turns > 0; turns--) await Promise.resolve();
      return toRelation(message, ANSWER);
    },
  };
  const configurationOids = new Map([[WEBHOOK_OID, "webhook"]] as const);
  source
    .pipe(decode({ catalog, configurationOids, resumeAfter, maxRowBytes: 2000, maxChanges: 1 + below(5) }))
    .subscribe({
      next: (chunk) => {
        chunks.push(chunk);
        changes.push(...chunk.changes.map(inOneLine));
      },
      error: (error: unknown) => errors.push(error),
      complete: () => (isComplete = true),
    });
  for (const frame of frames) {
    if (frame.kind === "keepalive") source.next(frame);
    else {
      const bytes = Buffer.from(frame.bytes);
      source.next({ kind: "data", lsn: frame.lsn, bytes });
      bytes.fill(0xaa);
    }
    if (below(3) === 0) await Promise.resolve();
  }
  source.complete();
  for (let turns = 0; turns < 30 && !isComplete && errors.length === 0; turns++) await Promise.resolve();
  return { chunks, changes, errors, isComplete };
}

function inOneLine({ transaction, position, relation, kind, ...images }: RowChange): string {
  const { commitLsn, changeLsn, index } = position;
  const place = `${transaction.xid} ${commitLsn} ${changeLsn} ${index}`;
  return `${place} ${relation.table} ${kind} ${JSON.stringify(images, (_, value: unknown) => value ?? String(value))}`;
}
