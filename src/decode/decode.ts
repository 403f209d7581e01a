import { Observable, type OperatorFunction, type Subscriber } from "rxjs";
import type { Frame } from "../replication/frame.ts";
import { formatLsn } from "../replication/lsn.ts";
import type { Catalog } from "./catalog.ts";
import type { Chunk } from "./chunk.ts";
import type { ConfigurationTable } from "./configuration-tables.ts";
import { ChunkBuilder } from "./chunk-builder.ts";
import { DecodeError } from "./decode-error.ts";
import { findMove, foldMove } from "./fold-moves.ts";
import type { Pending } from "./pending.ts";
import type { Position } from "./position.ts";
import { type Leaf, RelationTracker } from "./relation-tracker.ts";
import { TransactionReader } from "./transaction-reader.ts";

export interface DecodeOptions {
  readonly catalog: Catalog;
  /** Tables whose rows are configuration. They have REPLICA IDENTITY FULL. */
  readonly configurationOids: ReadonlyMap<number, ConfigurationTable>;
  /**
   * Changes at or before this place are left out. The configuration of the transaction that contains it is
   * collected whole all the same: it acts at the Commit, which comes after.
   */
  readonly resumeAfter: Position;
  /** A leaf of a partitioned table whose first change (on this connection, or since it was altered) has arrived. */
  readonly onLeaf?: (leaf: Leaf) => void;
  /**
   * What somebody wrote into the WAL for Walhook (`pg_logical_emit_message` with the prefix `walhook`): anybody may, so
   * it decides nothing. Again after a restart. Must not throw.
   */
  readonly onMessage?: (content: string) => void;
  /** Values of a row beyond it are left out, the longest first (see `parsePgoutput`). Default and at most 100,000,000. */
  readonly maxRowBytes?: number;
  /** Default 500. */
  readonly maxChanges?: number;
  /** What the frames of a chunk may weigh; default 1 MiB. */
  readonly maxBytes?: number;
}

/**
 * Turns frames into chunks of row changes, in wire order.
 *
 * A chunk holds what arrived in one read of the socket, up to the bounds, and ends right after the Commit of a
 * transaction that changed the configuration. While the catalog is asked about a table, what is behind its first
 * change waits; frames go on being parsed, since their bytes do not last. Every data frame's bytes are counted in
 * one chunk. `flushLsn` is 0 until a transaction has ended or a keepalive has come.
 *
 * Errors with a `DecodeError`, or with the catalog's; both end this connection's stream.
 */
export function decode(options: DecodeOptions): OperatorFunction<Frame, Chunk> {
  return (frames) =>
    new Observable((subscriber) => {
      const decoder = new Decoder(options, subscriber);
      const subscription = frames.subscribe({
        next: (frame) => decoder.next(frame),
        error: (error: unknown) => subscriber.error(error),
        complete: () => decoder.complete(),
      });
      return () => subscription.unsubscribe();
    });
}

class Decoder {
  readonly #subscriber: Subscriber<Chunk>;
  readonly #catalog: Catalog;
  readonly #maxChanges: number;
  readonly #maxBytes: number;
  readonly #reader: TransactionReader;
  readonly #builder: ChunkBuilder;
  /** In wire order; what is before `#head` has been handed on. */
  #pending: Pending[] = [];
  #head = 0;
  #isPlanned = false;
  #isSourceDone = false;

  constructor(options: DecodeOptions, subscriber: Subscriber<Chunk>) {
    this.#subscriber = subscriber;
    this.#catalog = options.catalog;
    this.#maxChanges = options.maxChanges ?? 500;
    this.#maxBytes = options.maxBytes ?? 1024 * 1024;
    const relations = new RelationTracker(options.onLeaf ?? (() => {}));
    this.#reader = new TransactionReader(
      relations,
      options.configurationOids,
      options.resumeAfter,
      options.maxRowBytes,
      options.onMessage,
    );
    this.#builder = new ChunkBuilder(options.resumeAfter);
  }

  /** Reads at once, since the frame's bytes do not last; handing on comes once a burst. */
  next(frame: Frame): void {
    try {
      const before = this.#pending.length;
      this.#reader.read(frame, this.#pending);
      for (let index = before; index < this.#pending.length; index++) this.#askFor(this.#pending[index]);
      this.#planHandingOn();
    } catch (error) {
      this.#subscriber.error(error instanceof DecodeError ? locate(error, frame) : error);
    }
  }

  complete(): void {
    this.#isSourceDone = true;
    this.#planHandingOn();
  }

  /** Asks the catalog about a table at its first change, not at its description: leaves are described and never change. */
  #askFor(pending: Pending | undefined): void {
    if (pending?.type !== "change" || pending.entry.isAskedFor) return;
    const { entry } = pending;
    entry.isAskedFor = true;
    this.#catalog.describeRelation(entry.message).then(
      (relation) => {
        entry.relation = relation;
        return this.#planHandingOn();
      },
      (error: unknown) => this.#subscriber.error(error),
    );
  }

  /** In a microtask: after the socket's read has been parsed whole, before anything else happens. */
  #planHandingOn(): void {
    if (this.#isPlanned) return;
    this.#isPlanned = true;
    queueMicrotask(() => {
      this.#isPlanned = false;
      if (!this.#subscriber.closed) this.#handOnAll();
    });
  }

  #handOnAll(): void {
    try {
      this.#drain();
      this.#builder.addBytes(this.#reader.takeUnclaimedBytes());
      this.#emit();
      if (this.#isSourceDone && !this.#isWaitingForCatalog()) this.#subscriber.complete();
    } catch (error) {
      this.#subscriber.error(error);
    }
  }

  /** Hands on what is pending, up to the first thing that has to wait. */
  #drain(): void {
    while (this.#head < this.#pending.length) {
      const pending = this.#pending[this.#head];
      if (pending === undefined || !this.#handOn(pending)) break;
      this.#head++;
    }
    if (this.#head === this.#pending.length) this.#pending = [];
    else if (this.#head > 1000) this.#pending = this.#pending.slice(this.#head);
    else return;
    this.#head = 0;
  }

  /** False where it has to wait. */
  #handOn(pending: Pending): boolean {
    if (pending.type === "keepalive") {
      this.#builder.addFlushLsn(pending.lsn);
      return true;
    }
    if (pending.type === "commit") {
      this.#builder.addCommit(pending);
      if (pending.configuration.length > 0) this.#emit();
      else this.#emitWhereFull();
      return true;
    }
    const { relation } = pending.entry;
    if (relation === null) return false;
    const move = findMove(this.#pending, this.#head);
    if (move.verdict === "wait") {
      // The frames that decide come only while the socket is not held back by this one.
      this.#builder.addBytes(pending.bytes);
      this.#pending[this.#head] = { ...pending, bytes: 0 };
      return false;
    }
    if (move.verdict === "yes") {
      this.#builder.addBytes(pending.bytes);
      this.#pending[move.index] = foldMove(pending, move.inserted);
      return true;
    }
    this.#builder.addChange(pending, relation);
    this.#emitWhereFull();
    return true;
  }

  #emitWhereFull(): void {
    const { changes, bytes } = this.#builder.size;
    if (changes >= this.#maxChanges || bytes >= this.#maxBytes) this.#emit();
  }

  #emit(): void {
    const chunk = this.#builder.take();
    if (chunk !== null) this.#subscriber.next(chunk);
  }

  #isWaitingForCatalog(): boolean {
    return this.#pending
      .slice(this.#head)
      .some((pending) => pending.type === "change" && pending.entry.relation === null);
  }
}

function locate(error: DecodeError, frame: Frame): DecodeError {
  return new DecodeError(`${error.message} (frame at LSN ${formatLsn(frame.lsn)})`);
}
