import type { Progress } from "../backfill/progress.ts";
import type { Position } from "../decode/position.ts";
import type { AttemptRecord } from "../deliver/attempt-record.ts";
import type { Ticket } from "../deliver/ticket.ts";
import type { InForceChange } from "../match/in-force.ts";
import type { Lsn } from "../replication/lsn.ts";

/** A chunk whose deliveries are known. */
export interface AdmittedChunk {
  readonly position: Position;
  readonly flushLsn: Lsn;
  readonly bytes: number;
  readonly tickets: readonly Ticket[];
  /** What its configuration transaction did to the webhooks in force; null where it has none. */
  readonly configuration: ConfigurationEffect | null;
  /** How far a backfill is with it; only where it comes of one. */
  readonly backfill?: Progress;
}

/** What a configuration transaction means for the queue, once it is passed. */
export type ConfigurationEffect = Pick<InForceChange, "changed" | "removed" | "repairs">;

/** A delivery that waits in the queue, as it stood when the checkpoint was planned. */
export interface QueueState {
  readonly ticket: Ticket;
  readonly attempts: number;
  readonly dueAtMs: number | null;
  readonly lastError: string | null;
  readonly isDead: boolean;
  readonly holdsLane: boolean;
  /** An attempt is under way in this process: due at once for whoever takes over. */
  readonly isSending: boolean;
}

/** One transaction's worth: everything at or below `position`, and nothing above it. */
export interface CheckpointPlan {
  readonly position: Position;
  readonly flushLsn: Lsn;
  readonly bytes: number;
  /** How many deliveries it passes. */
  readonly tickets: number;
  readonly records: readonly AttemptRecord[];
  readonly enqueue: readonly QueueState[];
  readonly requeue: readonly QueueState[];
  readonly dequeue: readonly Ticket[];
  readonly configuration: readonly ConfigurationEffect[];
  /** How far backfills are with it; absent where there are none. */
  readonly backfills?: readonly Progress[];
  /** False: nothing happened that a restart would miss, so nothing has to be written before acknowledging. */
  readonly isWorthWriting: boolean;
}
