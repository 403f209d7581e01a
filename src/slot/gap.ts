import { EXIT_CODES, WalhookError } from "../errors.ts";
import { formatLsn, type Lsn } from "../replication/lsn.ts";

/** Why changes may be missing from the stream; each is explained in the comment of `walhook.gap.kind`. */
export type GapKind =
  | "slot_missing"
  | "slot_lost"
  | "slot_moved"
  | "slot_recreated"
  | "other_system"
  | "other_database"
  | "publication_missing"
  | "publication_changed"
  | "table_unpublished";

/** Changes may be missing from the stream: what happened, where, and what it takes to go on. */
export interface Gap {
  readonly kind: GapKind;
  /** What was found, as a sentence without its full stop. */
  readonly message: string;
  /** Changes committed before it were seen; null where nothing was ever read. */
  readonly fromLsn: Lsn | null;
  /** Changes committed up to it may be missing; null where positions cannot be compared. */
  readonly toLsn: Lsn | null;
  /** Whether going on takes a new slot, or the publications only have to be repaired. */
  readonly needsSlot: boolean;
  /** When it was written into `walhook.bridge`; null: it has just been found. */
  readonly recordedAt: Date | null;
}

/** Ends a bridge: what is missing is not made up, and only a person can decide to go on without it. */
export class GapError extends WalhookError {
  readonly gap: Gap;

  constructor(gap: Gap, cause?: unknown) {
    super(`${gap.message} (a gap${rangeOf(gap)})`, {
      code: gap.kind,
      exitCode: EXIT_CODES.gap,
      hint: gapRemedy(gap.kind),
      cause,
    });
    this.gap = gap;
  }
}

function rangeOf({ fromLsn, toLsn }: Gap): string {
  if (fromLsn === null) return "";
  return toLsn === null ? ` from ${formatLsn(fromLsn)} on` : ` from ${formatLsn(fromLsn)} to ${formatLsn(toLsn)}`;
}

const ACCEPT = "`walhook accept-gap` shows what may be missing and, with --yes, accepts it and lets the bridge go on.";

/** What to do about a gap. */
export function gapRemedy(kind: GapKind): string {
  switch (kind) {
    case "other_system":
    case "other_database":
      return `On a copy whose original lives, nothing must be sent: \`walhook uninstall --drop-log\`. Else: ${ACCEPT}`;
    case "slot_lost":
      return `Raise max_slot_wal_keep_size (or idle_replication_slot_timeout). ${ACCEPT}`;
    case "slot_missing":
    case "slot_moved":
    case "slot_recreated":
    case "publication_missing":
    case "publication_changed":
    case "table_unpublished":
      return ACCEPT;
  }
}
