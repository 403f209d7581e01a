import { type Frame, weightOf } from "../replication/frame.ts";
import { type Lsn, formatLsn } from "../replication/lsn.ts";
import { type ConfigurationChange, endOfTransaction } from "./chunk.ts";
import type { ConfigurationTable } from "./configuration-tables.ts";
import { DecodeError } from "./decode-error.ts";
import type { Pending, RowImages } from "./pending.ts";
import { MAX_ROW_BYTES, parsePgoutput } from "./pgoutput.ts";
import type {
  DeleteMessage,
  InsertMessage,
  PgoutputMessage,
  RelationMessage,
  Tuple,
  UpdateMessage,
} from "./pgoutput-message.ts";
import { type Position, comparePositions } from "./position.ts";
import type { OldRow, RelationTracker } from "./relation-tracker.ts";
import type { Row, Transaction } from "./row-change.ts";

interface OpenTransaction {
  readonly header: Transaction;
  /** Passed whole before the resume position: nothing of it is handed on but its end. */
  readonly isPassed: boolean;
  readonly configuration: ConfigurationChange[];
  changeLsn: Lsn;
  index: number;
}

/**
 * Reads frames, synchronously and in order, into what is pending: gives every change its transaction, its place
 * and its rows. Keeps no row of its own; frames that give nothing (Begin, Relation, …) leave their byte count
 * with the next thing that does.
 */
export class TransactionReader {
  readonly #relations: RelationTracker;
  readonly #configurationOids: ReadonlyMap<number, ConfigurationTable>;
  readonly #resumeAfter: Position;
  readonly #maxRowBytes: number;
  readonly #onMessage: (content: string) => void;
  #transaction: OpenTransaction | null = null;
  #frameBytes = 0;
  #unclaimedBytes = 0;

  constructor(
    relations: RelationTracker,
    configurationOids: ReadonlyMap<number, ConfigurationTable>,
    resumeAfter: Position,
    maxRowBytes: number = MAX_ROW_BYTES,
    onMessage: (content: string) => void = () => {},
  ) {
    this.#relations = relations;
    this.#configurationOids = configurationOids;
    this.#resumeAfter = resumeAfter;
    this.#maxRowBytes = maxRowBytes;
    this.#onMessage = onMessage;
  }

  /** Bytes (see `weightOf`) of frames read since the last pending thing; asking takes them. */
  takeUnclaimedBytes(): number {
    const bytes = this.#unclaimedBytes;
    this.#unclaimedBytes = 0;
    return bytes;
  }

  /** Adds to `pending` what the frame says. Throws a `DecodeError`. */
  read(frame: Frame, pending: Pending[]): void {
    if (frame.kind === "keepalive") {
      // Inside a transaction it would speak of what is not finished yet.
      if (this.#transaction === null) pending.push({ type: "keepalive", lsn: frame.lsn, bytes: 0 });
      return;
    }
    this.#frameBytes = frame.bytes.length;
    this.#unclaimedBytes += weightOf(frame);
    this.#readMessage(parsePgoutput(frame.bytes, this.#rowLimit(frame.bytes)), frame.lsn, pending);
  }

  /** Configuration is read whole: without it nobody would know what to do with the rows after it. */
  #rowLimit(bytes: Buffer): number {
    if (bytes.length <= this.#maxRowBytes || bytes.length < 5) return this.#maxRowBytes;
    // Byte1 the kind of change, Int32 the table's OID.
    return this.#configurationOids.has(bytes.readUInt32BE(1)) ? MAX_ROW_BYTES : this.#maxRowBytes;
  }

  #readMessage(message: PgoutputMessage, lsn: Lsn, pending: Pending[]): void {
    switch (message.tag) {
      case "insert":
      case "update":
      case "delete":
        return this.#readChange(message, lsn, pending);
      case "truncate":
        this.#relations.forgetOrder();
        for (const oid of message.relationOids) this.#readTruncate(oid, lsn, pending);
        return;
      case "relation":
        return this.#relations.describe(message);
      case "begin":
        return this.#begin(message);
      case "commit":
        return this.#commit(message, pending);
      case "message":
        // What others wrote into the log is nothing to us.
        if (message.content !== undefined) this.#onMessage(message.content);
        return;
      // A type's name, where a transaction came from: nothing to hand on.
      case "type":
      case "origin":
        return;
      default:
        return message satisfies never;
    }
  }

  #begin({ commitLsn, commitTimeUs, xid }: Transaction): void {
    if (this.#transaction !== null) throw new DecodeError("a transaction begins inside another one");
    this.#relations.forgetOrder();
    this.#transaction = {
      header: { commitLsn, commitTimeUs, xid },
      isPassed: comparePositions(endOfTransaction(commitLsn), this.#resumeAfter) <= 0,
      configuration: [],
      changeLsn: -1n,
      index: 0,
    };
  }

  #commit({ commitLsn, endLsn }: { commitLsn: Lsn; endLsn: Lsn }, pending: Pending[]): void {
    const { header, configuration } = this.#open();
    // What is acknowledged rests on these two. Postgres' own subscribers check the first as well.
    if (commitLsn !== header.commitLsn || endLsn <= commitLsn) {
      const [begun, commit, end] = [header.commitLsn, commitLsn, endLsn].map(formatLsn);
      throw new DecodeError(
        `a Commit at ${commit} that ends at ${end}, of a transaction that was to commit at ${begun}`,
      );
    }
    this.#relations.forgetOrder();
    this.#transaction = null;
    pending.push({ type: "commit", commitLsn, endLsn, configuration, bytes: this.takeUnclaimedBytes() });
  }

  #readChange(message: InsertMessage | UpdateMessage | DeleteMessage, lsn: Lsn, pending: Pending[]): void {
    const transaction = this.#open();
    const position = this.#advance(transaction, lsn);
    const leaf = this.#relations.leafOfChange(message.relationOid);
    if (transaction.isPassed) return;
    const entry = this.#relations.entry(message.relationOid);
    const old =
      message.tag === "insert" || message.old === null || message.oldKind === null
        ? null
        : this.#relations.oldRow(entry.message, message.oldKind, message.old, leaf);
    const images = rowImages(entry.message, message, old);
    const table = this.#configurationOids.get(message.relationOid);
    if (table !== undefined) {
      transaction.configuration.push(configurationChange(table, entry.message, images));
      return;
    }
    const { oversized } = message.tag === "delete" ? message.old : message.new;
    const { header } = transaction;
    const bytes = this.takeUnclaimedBytes();
    const frameBytes = this.#frameBytes;
    pending.push({ type: "change", entry, images, transaction: header, position, oversized, frameBytes, bytes });
  }

  #readTruncate(relationOid: number, lsn: Lsn, pending: Pending[]): void {
    const transaction = this.#open();
    const position = this.#advance(transaction, lsn);
    if (transaction.isPassed) return;
    if (this.#configurationOids.has(relationOid)) {
      const { schema, name } = this.#relations.entry(relationOid).message;
      throw new DecodeError(`${schema}.${name} was truncated; webhooks are removed by DELETE`);
    }
    pending.push({
      type: "change",
      entry: this.#relations.entry(relationOid),
      images: { kind: "truncate" },
      transaction: transaction.header,
      position,
      oversized: null,
      frameBytes: this.#frameBytes,
      bytes: this.takeUnclaimedBytes(),
    });
  }

  #open(): OpenTransaction {
    if (this.#transaction === null) throw new DecodeError("a change or Commit outside of a transaction");
    return this.#transaction;
  }

  /** Several changes can share an LSN (COPY, TRUNCATE of several tables): they are counted. */
  #advance(transaction: OpenTransaction, changeLsn: Lsn): Position {
    transaction.index = changeLsn === transaction.changeLsn ? transaction.index + 1 : 0;
    transaction.changeLsn = changeLsn;
    return { commitLsn: transaction.header.commitLsn, changeLsn, index: transaction.index };
  }
}

function rowImages(
  relation: RelationMessage,
  message: InsertMessage | UpdateMessage | DeleteMessage,
  old: OldRow | null,
): RowImages {
  if (message.tag === "insert") return { kind: "insert", new: aligned(relation, message.new) };
  if (message.tag === "update") {
    return { kind: "update", old: old?.row ?? null, new: completed(aligned(relation, message.new), message.new, old) };
  }
  return { kind: "delete", old: old?.row ?? [] };
}

function aligned(relation: RelationMessage, tuple: Tuple): Row {
  if (tuple.values.length !== relation.columns.length) {
    const sent = `${tuple.values.length} values for the ${relation.columns.length} columns`;
    throw new DecodeError(`${sent} of ${relation.schema}.${relation.name}`);
  }
  return tuple.values;
}

/** An unchanged TOAST value is not sent, but a whole old row has it. NULL there proves that the row is not whole. */
function completed(row: Row, { oversized }: Tuple, old: OldRow | null): Row {
  if (old?.isFull !== true || !row.includes(undefined)) return row;
  return row.map((value, index) => {
    if (value !== undefined || oversized?.includes(index) === true) return value;
    return old.row[index] ?? undefined;
  });
}

function configurationChange(
  table: ConfigurationTable,
  { schema, name, columns }: RelationMessage,
  images: RowImages,
): ConfigurationChange {
  if (images.kind === "truncate") throw new DecodeError(`${schema}.${name} was truncated`);
  const values = images.kind === "delete" ? images.old : images.new;
  const row: Record<string, string | null> = {};
  for (const [index, column] of columns.entries()) {
    const value = values[index];
    if (value === undefined) {
      throw new DecodeError(`column ${column.name} of ${schema}.${name} was not sent; it needs REPLICA IDENTITY FULL`);
    }
    row[column.name] = value;
  }
  return { table, kind: images.kind, row };
}
