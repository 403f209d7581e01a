import type { Lsn } from "../replication/lsn.ts";
import { DecodeError } from "./decode-error.ts";

/** Reads a message from its first byte to its last. Every read is checked against the end: a `DecodeError`, never more. */
export class ByteReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get at(): number {
    return this.#at;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  int8(): number {
    return this.#bytes[this.#take(1)] ?? 0;
  }

  uint16(): number {
    return this.#bytes.readUInt16BE(this.#take(2));
  }

  /** OIDs, transaction ids and lengths are unsigned. */
  uint32(): number {
    return this.#bytes.readUInt32BE(this.#take(4));
  }

  int32(): number {
    return this.#bytes.readInt32BE(this.#take(4));
  }

  lsn(): Lsn {
    return this.#bytes.readBigUInt64BE(this.#take(8));
  }

  /** Postgres counts from 2000-01-01; this counts from 1970-01-01, both in microseconds. */
  time(): bigint {
    return this.#bytes.readBigInt64BE(this.#take(8)) + 946_684_800_000_000n;
  }

  /** Text of a known length in bytes. Bytes that are not UTF-8 (possible in SQL_ASCII databases) become U+FFFD. */
  text(length: number): string {
    const start = this.#take(length);
    return this.#bytes.toString("utf8", start, start + length);
  }

  /** Text up to a NUL, of which at most the first 1,000 bytes are decoded: names are short, others do not matter. */
  name(): string {
    const end = this.#bytes.indexOf(0, this.#at);
    if (end === -1) throw this.#tooShort(1);
    const start = this.#take(end + 1 - this.#at);
    return this.#bytes.toString("utf8", start, Math.min(end, start + 1000));
  }

  skip(length: number): void {
    this.#take(length);
  }

  /** Back to a place that has been read already. */
  rewind(at: number): void {
    this.#at = Math.min(at, this.#at);
  }

  expectEnd(): void {
    if (this.left > 0) throw new DecodeError(`${this.left} bytes too many after byte ${this.#at}`);
  }

  /** Moves on and returns where it was. */
  #take(length: number): number {
    const start = this.#at;
    if (length < 0 || start + length > this.#bytes.length) throw this.#tooShort(length);
    this.#at = start + length;
    return start;
  }

  #tooShort(length: number): DecodeError {
    return new DecodeError(`${length} bytes wanted at byte ${this.#at}, but only ${this.left} are left`);
  }
}
