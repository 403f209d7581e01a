import type { Lsn } from "../replication/lsn.ts";
import { type Chunk, type ConfigurationChange, endOfTransaction } from "./chunk.ts";
import type { PendingChange, PendingCommit } from "./pending.ts";
import { type Position, comparePositions } from "./position.ts";
import type { Relation } from "./relation.ts";
import type { RowChange } from "./row-change.ts";

/** So many bytes are reported even where nothing else is to be told, so that the socket is not held back. */
const REPORT_BYTES = 64 * 1024;

/** Collects the chunk to be sent next. */
export class ChunkBuilder {
  readonly #resumeAfter: Position;
  #changes: RowChange[] = [];
  #configuration: readonly ConfigurationChange[] = [];
  #position: Position;
  #flushLsn: Lsn = 0n;
  #bytes = 0;
  /** Since the last chunk. */
  #hasProgress = false;

  constructor(resumeAfter: Position) {
    this.#resumeAfter = resumeAfter;
    this.#position = resumeAfter;
  }

  get size(): { readonly changes: number; readonly bytes: number } {
    return { changes: this.#changes.length, bytes: this.#bytes };
  }

  addBytes(bytes: number): void {
    this.#bytes += bytes;
  }

  /** Changes at or before the resume position have been dealt with, before a restart. */
  addChange(change: PendingChange, relation: Relation): void {
    this.#bytes += change.bytes;
    if (comparePositions(change.position, this.#resumeAfter) <= 0) return;
    const { transaction, position, images, oversized } = change;
    const row = { transaction, position, relation, ...images };
    this.#changes.push(oversized === null ? row : { ...row, oversized });
    this.#position = position;
    this.#hasProgress = true;
  }

  addCommit({ commitLsn, endLsn, configuration, bytes }: PendingCommit): void {
    const end = endOfTransaction(commitLsn);
    if (comparePositions(end, this.#position) > 0) this.#position = end;
    this.#configuration = configuration;
    this.addBytes(bytes);
    this.addFlushLsn(endLsn);
    this.#hasProgress = true;
  }

  addFlushLsn(lsn: Lsn): void {
    if (lsn <= this.#flushLsn) return;
    this.#flushLsn = lsn;
    this.#hasProgress = true;
  }

  /** The chunk, and a new one is begun; null where there is nothing worth telling. */
  take(): Chunk | null {
    if (!this.#hasProgress && this.#bytes < REPORT_BYTES) return null;
    const chunk: Chunk = {
      changes: this.#changes,
      configuration: this.#configuration,
      position: this.#position,
      flushLsn: this.#flushLsn,
      bytes: this.#bytes,
    };
    this.#changes = [];
    this.#configuration = [];
    this.#bytes = 0;
    this.#hasProgress = false;
    return chunk;
  }
}
