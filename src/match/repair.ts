import type { ColumnTexts } from "../db/schema.ts";
import { type Lsn, parseLsn } from "../replication/lsn.ts";

/** What somebody asked for about deliveries: a row of `walhook.repair`. */
export interface Repair {
  readonly id: number;
  readonly kind: RepairKind;
  readonly webhookId: number;
  /** Those of this document only; null: of all. */
  readonly docname: string | null;
  /** This one only; null: all. */
  readonly deliveryId: string | null;
  /** Bounds of time, as Postgres writes them; null: none. */
  readonly since: string | null;
  readonly until: string | null;
  /** Bounds of the commit LSN, both inclusive; null: none. */
  readonly fromLsn: Lsn | null;
  readonly toLsn: Lsn | null;
  readonly outcome: string | null;
  /** Deliveries a second; null where that means nothing. */
  readonly rate: number | null;
  /** Which replay is to be stopped. */
  readonly replayId: number | null;
  readonly requestedBy: string;
  readonly requestedAt: string;
}

const KINDS = ["replay", "cancel", "replay_log", "stop_replay", "cancel_waiting", "retry_now"] as const;

/** What is done: the first two are about dead letters. */
export type RepairKind = (typeof KINDS)[number];

/** A row of the stream as a repair; null where a later version wrote something that this one does not know. */
export function toRepair(row: ColumnTexts): Repair | null {
  const kind = KINDS.find((known) => known === row["kind"]);
  if (kind === undefined) return null;
  return {
    id: Number(row["id"]),
    kind,
    webhookId: Number(row["webhook_id"]),
    docname: row["docname"] ?? null,
    deliveryId: row["delivery_id"] ?? null,
    since: row["since"] ?? null,
    until: row["until"] ?? null,
    fromLsn: toLsn(row["from_lsn"]),
    toLsn: toLsn(row["to_lsn"]),
    outcome: row["outcome"] ?? null,
    rate: row["rate"] == null ? null : Number(row["rate"]),
    replayId: row["replay_id"] == null ? null : Number(row["replay_id"]),
    requestedBy: row["requested_by"] ?? "",
    requestedAt: row["requested_at"] ?? "",
  };
}

function toLsn(text: string | null | undefined): Lsn | null {
  return text == null ? null : parseLsn(text);
}
