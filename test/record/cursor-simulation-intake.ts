import { type Chunk, endOfTransaction } from "../../src/decode/chunk.ts";
import type { ConfigurationTable } from "../../src/decode/configuration-tables.ts";
import { ChunkBuilder } from "../../src/decode/chunk-builder.ts";
import type { Pending } from "../../src/decode/pending.ts";
import type { RelationMessage } from "../../src/decode/pgoutput-message.ts";
import type { Position } from "../../src/decode/position.ts";
import type { Relation } from "../../src/decode/relation.ts";
import { RelationTracker } from "../../src/decode/relation-tracker.ts";
import { TransactionReader } from "../../src/decode/transaction-reader.ts";
import { endsInConfiguration, mergeEventChunks, type EventChunk } from "../../src/events/event-chunk.ts";
import type { Frame } from "../../src/replication/frame.ts";
import type { Mutant } from "./cursor-simulation-mutants.ts";
import { CONFIGURATION_OID, DATA_OID } from "./cursor-simulation-server.ts";

/** From frames to merged chunks: the real reader and chunk builder, without the real decoder's promises. */
export class SimulatedIntake {
  readonly #below: (n: number) => number;
  readonly #mutant: Mutant;
  readonly #reader: TransactionReader;
  readonly #builder: ChunkBuilder;
  #pending: Pending[] = [];
  #head = 0;
  readonly #chunks: EventChunk[] = [];

  constructor(position: Position, below: (n: number) => number, mutant: Mutant) {
    this.#below = below;
    this.#mutant = mutant;
    const relations = new RelationTracker(() => {});
    relations.describe(DATA);
    relations.describe(CONFIGURATION);
    const resumeAfter = resumption(position, mutant);
    this.#reader = new TransactionReader(relations, CONFIGURATION_OIDS, resumeAfter);
    this.#builder = new ChunkBuilder(resumeAfter);
  }

  get isEmpty(): boolean {
    return this.#pending.length === 0 && this.#chunks.length === 0;
  }

  /** Reads a frame. Returns what it ended, if that was a transaction. */
  read(frame: Frame, isInside: boolean): Pending | undefined {
    const isWaiting = this.#head < this.#pending.length;
    const isAhead =
      (this.#mutant === "keepalive-ahead" && isWaiting) || (this.#mutant === "keepalive-inside" && isInside);
    if (frame.kind === "keepalive" && isAhead) this.#builder.addFlushLsn(frame.lsn);
    else this.#reader.read(frame, this.#pending);
    return this.#pending.at(-1);
  }

  /** As the decoder hands on what waited for the catalog; a chunk may end anywhere. */
  handOn(count: number): void {
    for (let i = 0; i < count && this.#head < this.#pending.length; i++) {
      const pending = this.#pending[this.#head++] as Pending;
      if (pending.type === "change") this.#builder.addChange(pending, RELATION);
      else if (pending.type === "keepalive") this.#builder.addFlushLsn(pending.lsn);
      else {
        this.#builder.addCommit(pending);
        if (pending.configuration.length > 0) this.emit();
      }
      if (this.#below(4) === 0) this.emit();
    }
    if (this.#head < this.#pending.length) return;
    this.#pending = [];
    this.#head = 0;
    if (this.#below(4) === 0) this.emit();
  }

  /** What arrives while an earlier chunk is being matched is merged. Changes stand for their events. */
  emit(): void {
    const chunk = this.#builder.take();
    if (chunk === null) return;
    const { configuration, position, flushLsn, bytes } = chunk;
    const events = chunk.changes as unknown as EventChunk["events"];
    const next = { events, configuration, position, flushLsn, bytes };
    const last = this.#chunks.at(-1);
    const isBarrier =
      last === undefined || (endsInConfiguration(last) && this.#mutant !== "merged-behind-configuration");
    if (isBarrier || this.#below(2) === 0) this.#chunks.push(next);
    else this.#chunks[this.#chunks.length - 1] = mergeEventChunks(last, next);
  }

  /** The next chunk that was matched. */
  shift(): Chunk | null {
    const chunk = this.#chunks.shift();
    if (chunk === undefined) return null;
    const { configuration, position, flushLsn, bytes } = chunk;
    return { changes: chunk.events as unknown as Chunk["changes"], configuration, position, flushLsn, bytes };
  }
}

const CONFIGURATION_OIDS: ReadonlyMap<number, ConfigurationTable> = new Map([[CONFIGURATION_OID, "webhook"]]);
const DATA: RelationMessage = { tag: "relation", oid: DATA_OID, schema: "s", name: "t", identity: "d", columns: [] };
const CONFIGURATION: RelationMessage = {
  ...DATA,
  oid: CONFIGURATION_OID,
  columns: [{ name: "transaction", isKey: true, typeOid: 25, typeModifier: -1 }],
};
const RELATION: Relation = {
  oid: DATA_OID,
  schema: "s",
  table: "t",
  doctype: "t",
  columns: [],
  keyIndexes: [],
  docstatusIndex: -1,
  omitted: [],
  isPartitioned: false,
};

function resumption(position: Position, mutant: Mutant): Position {
  if (mutant === "resume-behind-transaction") return endOfTransaction(position.commitLsn);
  return mutant === "resume-without-index" ? { ...position, index: Infinity } : position;
}
