import type { Lsn } from "./lsn.ts";

/** What is made of a row of a few bytes takes some hundred of them: 300,000 such rows in 16 MiB would be 800 MB. */
const OBJECT_BYTES = 512;

/** What a data frame counts against the bytes that may be in memory: its own, and the objects that are made of it. */
export function weightOf({ bytes }: { readonly bytes: Buffer }): number {
  return bytes.length + OBJECT_BYTES;
}

/**
 * What arrives on the replication connection, in wire order.
 *
 * `bytes` is a view into the driver's own buffer, which is used again for the next read: whoever wants
 * a frame has to decode it before returning from `next`.
 */
export type Frame =
  | {
      readonly kind: "data";
      /** XLogData's start of WAL: the position of a change, the end of a commit, 0 for Relation and Type. */
      readonly lsn: Lsn;
      /** One pgoutput message. */
      readonly bytes: Buffer;
    }
  | {
      readonly kind: "keepalive";
      /** Every transaction that ended at or before this LSN has been sent before this frame. */
      readonly lsn: Lsn;
    };
