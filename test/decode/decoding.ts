import { tap } from "rxjs";
import { type Catalog, createCatalog } from "../../src/decode/catalog.ts";
import type { Chunk } from "../../src/decode/chunk.ts";
import type { ConfigurationTable } from "../../src/decode/configuration-tables.ts";
import { type DecodeOptions, decode } from "../../src/decode/decode.ts";
import { START } from "../../src/decode/position.ts";
import type { RowChange } from "../../src/decode/row-change.ts";
import type { ReplicationOptions, ReplicationStream } from "../../src/replication/replication-stream.ts";
import { weightOf } from "../../src/replication/frame.ts";
import type { TestDatabase } from "../support/database.ts";
import { eventually } from "../support/eventually.ts";
import { open } from "../replication/streaming.ts";

/** Chunks decoded from a test database's slot; everything is released, nothing acknowledged. */
export interface Decoding {
  readonly chunks: Chunk[];
  readonly changes: RowChange[];
  /** What the data frames that were received weigh. */
  readonly receivedBytes: number;
  readonly error: Error | null;
  readonly stream: ReplicationStream;
  /** Waits for so many changes in all. */
  until(changes: number): Promise<RowChange[]>;
  [Symbol.asyncDispose](): Promise<void>;
}

export function catalogOf(database: TestDatabase): Catalog {
  return createCatalog({ query: (sql, params) => database.query(sql, params) });
}

export async function decodeFrom(
  database: TestDatabase,
  options: Partial<DecodeOptions> & { readonly configurationOids?: ReadonlyMap<number, ConfigurationTable> } = {},
  streaming: Partial<ReplicationOptions> = {},
): Promise<Decoding> {
  const stream = await open(database, streaming);
  const chunks: Chunk[] = [];
  const changes: RowChange[] = [];
  const decoding = { chunks, changes, receivedBytes: 0, error: null as Error | null, stream };
  const subscription = stream.frames
    .pipe(
      tap((frame) => {
        if (frame.kind === "data") decoding.receivedBytes += weightOf(frame);
      }),
      decode({ catalog: catalogOf(database), configurationOids: new Map(), resumeAfter: START, ...options }),
    )
    .subscribe({
      next: (chunk) => {
        chunks.push(chunk);
        changes.push(...chunk.changes);
        stream.release(chunk.bytes);
      },
      error: (error: Error) => {
        decoding.error = error;
      },
    });
  return Object.assign(decoding, {
    until: async (count: number) => {
      await eventually(() => {
        if (decoding.error !== null) throw decoding.error;
        return changes.length >= count;
      });
      return changes;
    },
    [Symbol.asyncDispose]: async () => {
      subscription.unsubscribe();
      await stream.stop();
    },
  });
}
