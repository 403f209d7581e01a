/** Where a message says how long something is, or how many of something follow: what a hostile one would lie about. */
export interface LengthField {
  readonly at: number;
  readonly size: 2 | 4;
}

export interface WrittenMessage {
  readonly bytes: Buffer;
  readonly lengths: readonly LengthField[];
}

/** A value as pgoutput sends it: text, NULL, or an unchanged TOAST value. */
export type WrittenValue = Buffer | null | undefined;

/** Writes pgoutput messages as the protocol's documentation has them, and notes where their lengths stand. */
export class MessageWriter {
  readonly #parts: Buffer[] = [];
  readonly #lengths: LengthField[] = [];
  #at = 0;

  constructor(tag: string) {
    this.bytes(Buffer.from(tag));
  }

  bytes(part: Buffer): this {
    this.#parts.push(part);
    this.#at += part.length;
    return this;
  }

  int8(value: number | string): this {
    return this.bytes(Buffer.from([typeof value === "string" ? value.charCodeAt(0) : value]));
  }

  int32(value: number): this {
    const part = Buffer.alloc(4);
    part.writeUInt32BE(value);
    return this.bytes(part);
  }

  int64(value: bigint): this {
    const part = Buffer.alloc(8);
    part.writeBigUInt64BE(value);
    return this.bytes(part);
  }

  name(text: string): this {
    return this.bytes(Buffer.from(`${text}\0`));
  }

  count16(value: number): this {
    this.#lengths.push({ at: this.#at, size: 2 });
    const part = Buffer.alloc(2);
    part.writeUInt16BE(value);
    return this.bytes(part);
  }

  count32(value: number): this {
    this.#lengths.push({ at: this.#at, size: 4 });
    return this.int32(value);
  }

  tuple(values: readonly WrittenValue[]): this {
    this.count16(values.length);
    for (const value of values) {
      if (value === null) this.int8("n");
      else if (value === undefined) this.int8("u");
      else this.int8("t").count32(value.length).bytes(value);
    }
    return this;
  }

  done(): WrittenMessage {
    return { bytes: Buffer.concat(this.#parts), lengths: this.#lengths };
  }
}
