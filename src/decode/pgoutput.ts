import { ByteReader } from "./byte-reader.ts";
import { DecodeError } from "./decode-error.ts";
import {
  MESSAGE_PREFIX,
  type DeleteMessage,
  type OldKind,
  type PgoutputMessage,
  type RelationColumn,
  type RelationMessage,
  type ReplicaIdentity,
  type Tuple,
  type UpdateMessage,
} from "./pgoutput-message.ts";

/** No row is decoded beyond this: V8's strings end at 512 MiB, and a webhook of that size reaches nobody. */
export const MAX_ROW_BYTES = 100_000_000;

const [BEGIN, COMMIT, ORIGIN, RELATION, TYPE] = bytesOf("BCORY");
const [INSERT, UPDATE, DELETE, TRUNCATE, MESSAGE] = bytesOf("IUDTM");
const [NEW, KEY, OLD] = bytesOf("NKO");
const [NULL, UNCHANGED, TEXT] = bytesOf("nut");

/**
 * Reads one message of pgoutput, protocol version 1, text format. Where the values of a row are longer than
 * `maxRowBytes` together, the longest ones are left out and listed, so that what is read never takes more than that
 * (an update has two rows). The same bytes and the same limit always leave out the same values.
 * Throws a `DecodeError` on anything else, on missing bytes and on surplus ones; never reads beyond `bytes`.
 * https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html
 */
export function parsePgoutput(bytes: Buffer, maxRowBytes: number = MAX_ROW_BYTES): PgoutputMessage {
  const reader = new ByteReader(bytes);
  const message = readMessage(reader, Math.min(maxRowBytes, MAX_ROW_BYTES));
  reader.expectEnd();
  return message;
}

/** Byte1 the message's kind, then what it says. */
function readMessage(reader: ByteReader, maxRowBytes: number): PgoutputMessage {
  const tag = reader.int8();
  switch (tag) {
    case INSERT: {
      const relationOid = reader.uint32();
      expectByte(reader, NEW);
      return { tag: "insert", relationOid, new: readTuple(reader, maxRowBytes) };
    }
    case UPDATE:
      return readUpdate(reader, maxRowBytes);
    case DELETE:
      return readDelete(reader, maxRowBytes);
    case BEGIN:
      // Int64 LSN of the Commit, Int64 its time, Int32 xid.
      return { tag: "begin", commitLsn: reader.lsn(), commitTimeUs: reader.time(), xid: reader.uint32() };
    case COMMIT:
      // Int8 unused, Int64 LSN of the Commit, Int64 its end, Int64 its time.
      reader.skip(1);
      return { tag: "commit", commitLsn: reader.lsn(), endLsn: reader.lsn(), commitTimeUs: reader.time() };
    case RELATION:
      return readRelation(reader);
    case TRUNCATE:
      return readTruncate(reader);
    case ORIGIN:
      return { tag: "origin", lsn: reader.lsn(), name: reader.name() };
    case TYPE:
      return { tag: "type", oid: reader.uint32(), schema: reader.name() || "pg_catalog", name: reader.name() };
    case MESSAGE:
      return readLogicalMessage(reader);
    default:
      throw new DecodeError(`unknown message ${JSON.stringify(String.fromCharCode(tag))} (${tag})`);
  }
}

/** Int32 OID, then the old tuple (Byte1 'K' or 'O') where there is one, then Byte1 'N' and the new one. */
function readUpdate(reader: ByteReader, maxRowBytes: number): UpdateMessage {
  const relationOid = reader.uint32();
  const marker = reader.int8();
  if (marker === NEW) {
    return { tag: "update", relationOid, old: null, oldKind: null, new: readTuple(reader, maxRowBytes) };
  }
  const oldKind = oldKindOf(marker);
  const old = readTuple(reader, maxRowBytes);
  expectByte(reader, NEW);
  return { tag: "update", relationOid, old, oldKind, new: readTuple(reader, maxRowBytes) };
}

/** Int32 OID, Byte1 'K' or 'O', the old tuple. */
function readDelete(reader: ByteReader, maxRowBytes: number): DeleteMessage {
  const relationOid = reader.uint32();
  const oldKind = oldKindOf(reader.int8());
  return { tag: "delete", relationOid, oldKind, old: readTuple(reader, maxRowBytes) };
}

/** Int16 number of columns; each: Byte1 'n' (NULL), 'u' (unchanged TOAST) or 't' (Int32 length, then the text). */
function readTuple(reader: ByteReader, maxRowBytes: number): Tuple {
  // What is left of the message bounds what the row's values can be.
  const oversized = reader.left <= maxRowBytes ? null : findOversized(reader, maxRowBytes);
  const count = reader.uint16();
  const values: (string | null | undefined)[] = [];
  for (let index = 0; index < count; index++) {
    const length = readValueLength(reader);
    if (length === "null") values.push(null);
    else if (length === "unchanged") values.push(undefined);
    else if (oversized === null || !oversized.includes(index)) values.push(reader.text(length));
    else {
      reader.skip(length);
      values.push(undefined);
    }
  }
  return { values, oversized };
}

function readValueLength(reader: ByteReader): number | "null" | "unchanged" {
  const kind = reader.int8();
  if (kind === TEXT) return reader.uint32();
  if (kind === NULL) return "null";
  if (kind === UNCHANGED) return "unchanged";
  throw new DecodeError(`unknown kind of value ${kind} at byte ${reader.at - 1}`);
}

/** The values of the tuple ahead that are left out, longest first, until the rest fits; null where all fit. Reads nothing. */
function findOversized(reader: ByteReader, maxRowBytes: number): readonly number[] | null {
  const start = reader.at;
  const count = reader.uint16();
  const values: { readonly index: number; readonly length: number }[] = [];
  let bytes = 0;
  for (let index = 0; index < count; index++) {
    const length = readValueLength(reader);
    if (typeof length !== "number") continue;
    reader.skip(length);
    values.push({ index, length });
    bytes += length;
  }
  reader.rewind(start);
  if (bytes <= maxRowBytes) return null;
  const left: number[] = [];
  for (const { index, length } of values.toSorted((a, b) => b.length - a.length || a.index - b.index)) {
    if (bytes <= maxRowBytes) break;
    bytes -= length;
    left.push(index);
  }
  return left.toSorted((a, b) => a - b);
}

/** Int32 OID, String schema, String name, Int8 replica identity, Int16 number of columns, the columns. */
function readRelation(reader: ByteReader): RelationMessage {
  const oid = reader.uint32();
  const schema = reader.name() || "pg_catalog";
  const name = reader.name();
  const identity = String.fromCharCode(reader.int8());
  if (!isReplicaIdentity(identity)) throw new DecodeError(`unknown replica identity ${JSON.stringify(identity)}`);
  const count = reader.uint16();
  const columns: RelationColumn[] = [];
  for (let index = 0; index < count; index++) {
    // Int8 flags (1: part of the key), String name, Int32 type OID, Int32 type modifier.
    const isKey = (reader.int8() & 1) === 1;
    columns.push({ name: reader.name(), isKey, typeOid: reader.uint32(), typeModifier: reader.int32() });
  }
  return { tag: "relation", oid, schema, name, identity, columns };
}

/** Int32 number of relations, Int8 options (1: CASCADE, 2: RESTART IDENTITY), Int32 OIDs. */
function readTruncate(reader: ByteReader): PgoutputMessage {
  const count = reader.uint32();
  const options = reader.int8();
  const relationOids: number[] = [];
  for (let index = 0; index < count; index++) relationOids.push(reader.uint32());
  return { tag: "truncate", relationOids, cascade: (options & 1) !== 0, restartIdentity: (options & 2) !== 0 };
}

/** Anybody may write messages, of any length: ours are short. */
const MAX_MESSAGE_BYTES = 8 * 1024 * 1024;

/** Int8 flags (1: transactional), Int64 LSN, String prefix, Int32 length, the content. */
function readLogicalMessage(reader: ByteReader): PgoutputMessage {
  const isTransactional = (reader.int8() & 1) === 1;
  const lsn = reader.lsn();
  const prefix = reader.name();
  const contentBytes = reader.uint32();
  const message = { tag: "message", isTransactional, lsn, prefix, contentBytes } as const;
  if (prefix === MESSAGE_PREFIX && contentBytes <= MAX_MESSAGE_BYTES) {
    return { ...message, content: reader.text(contentBytes) };
  }
  reader.skip(contentBytes);
  return message;
}

function oldKindOf(byte: number): OldKind {
  if (byte === KEY) return "K";
  if (byte === OLD) return "O";
  throw new DecodeError(`unknown kind of tuple ${byte}`);
}

function expectByte(reader: ByteReader, expected: number | undefined): void {
  const byte = reader.int8();
  if (byte !== expected) throw new DecodeError(`byte ${byte} at ${reader.at - 1} where ${expected} was expected`);
}

function isReplicaIdentity(text: string): text is ReplicaIdentity {
  return text === "d" || text === "n" || text === "f" || text === "i";
}

function bytesOf(text: string): number[] {
  return [...Buffer.from(text, "latin1")];
}
