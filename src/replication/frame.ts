import type { Lsn } from "./lsn.ts";

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
