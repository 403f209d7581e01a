import { comparePositions, START, type Position } from "../../src/decode/position.ts";
import { queueDueAtMs } from "../../src/record/queue-copy.ts";
import { lanesToRelease } from "../../src/record/release-lanes.ts";
import type { CheckpointPlan, QueueState } from "../../src/record/checkpoint-plan.ts";
import type { Mutant } from "./simulation-mutants.ts";
import { conflicts, UNORDERED, type Change, type SimulatedRepair } from "./simulation-wal.ts";

interface QueueRow {
  readonly change: Change;
  attempts: number;
  dueAtMs: number | null;
  isDead: boolean;
  holdsLane: boolean;
}

/** What a checkpoint needs to know beside its plan. */
export interface WriteContext {
  readonly changeOf: ReadonlyMap<string, Change>;
  readonly repairs: readonly SimulatedRepair[];
  readonly claimed: ReadonlySet<string>;
  readonly nowMs: number;
}

/** What survives a crash of the bridge: log, queue, cursor and slot, with what SQL does in the real ones. */
export class SimulatedDatabase {
  readonly log: { readonly id: string; readonly outcome: string }[] = [];
  readonly queue = new Map<string, QueueRow>();
  readonly problems: string[] = [];
  position: Position = START;
  flushLsn = 0n;
  confirmedFlushLsn = 0n;
  readonly #mutant: Mutant;
  readonly #onCancelled: (id: string) => void;

  constructor(mutant: Mutant, onCancelled: (id: string) => void) {
    this.#mutant = mutant;
    this.#onCancelled = onCancelled;
  }

  /** A checkpoint, all of it. */
  write(plan: CheckpointPlan, { changeOf, repairs, claimed, nowMs }: WriteContext): void {
    const freed = lanesToRelease(plan).map(({ delivery }) => changeOf.get(delivery.id)!);
    for (const { delivery, outcome } of plan.records) this.log.push({ id: delivery.id, outcome });
    for (const state of plan.enqueue) {
      const change = changeOf.get(state.ticket.delivery.id)!;
      if (this.queue.has(change.id)) this.problems.push(`${change.id} is put into the queue twice`);
      this.queue.set(change.id, { change, ...this.#columns(state, nowMs) });
    }
    for (const state of plan.requeue) {
      const row = this.queue.get(state.ticket.delivery.id);
      if (row === undefined) this.problems.push(`${state.ticket.delivery.id} is not in the queue any more`);
      else Object.assign(row, this.#columns(state, nowMs));
    }
    for (const { delivery } of plan.dequeue) {
      if (!this.queue.delete(delivery.id)) this.problems.push(`${delivery.id} is not in the queue any more`);
    }
    for (const repair of repairs) freed.push(...this.#repair(repair, claimed, nowMs));
    this.#release(freed, nowMs);
    this.position = plan.position;
    this.flushLsn = plan.flushLsn;
  }

  /** Whether a new delivery has to go behind something in the queue. */
  blocks(change: Change): boolean {
    return [...this.queue.values()].some((row) => {
      const isPassed = row.isDead && (!row.holdsLane || this.#mutant === "holder-forgotten");
      return !isPassed && conflicts(row.change, change);
    });
  }

  /** What may be fetched. */
  due(nowMs: number): readonly QueueRow[] {
    return [...this.queue.values()].filter(({ dueAtMs, isDead }) => !isDead && dueAtMs !== null && dueAtMs <= nowMs);
  }

  /** Returns what may have let something go. */
  #repair({ kind, webhookId }: SimulatedRepair, claimed: ReadonlySet<string>, nowMs: number): readonly Change[] {
    const chosen = [...this.queue.values()].filter(
      ({ isDead, change }) => isDead && change.webhookId === webhookId && !claimed.has(change.id),
    );
    for (const row of chosen) {
      const { id } = row.change;
      if (kind === "replay") {
        const dueAtMs = webhookId === UNORDERED ? nowMs : null;
        Object.assign(row, { isDead: false, holdsLane: false, attempts: 0, dueAtMs });
      } else {
        this.queue.delete(id);
        this.log.push({ id, outcome: "cancelled" });
        this.#onCancelled(id);
      }
    }
    return this.#mutant === "repair-releases-nothing" ? [] : chosen.map(({ change }) => change);
  }

  /** Only lanes in which something happened are looked at, as in `releaseLanes`. */
  #release(freed: readonly Change[], nowMs: number): void {
    for (const row of this.queue.values()) {
      if (row.dueAtMs !== null || row.isDead || this.#isBlocked(row.change)) continue;
      const isTouched = (change: Change): boolean =>
        change.webhookId === row.change.webhookId &&
        (change.isTruncate || row.change.isTruncate || row.change.docname === null || sharesName(change, row.change));
      if (freed.some(isTouched)) row.dueAtMs = nowMs;
    }
  }

  #isBlocked(change: Change): boolean {
    return [...this.queue.values()].some((row) => {
      const isPassed = row.isDead && (!row.holdsLane || this.#mutant === "held-released");
      return !isPassed && comparePositions(row.change.position, change.position) < 0 && conflicts(row.change, change);
    });
  }

  #columns(state: QueueState, nowMs: number): Omit<QueueRow, "change"> {
    const { attempts, isDead, holdsLane, dueAtMs } = state;
    const isMistaken = this.#mutant === "unordered-blocked" && !state.isSending;
    return { attempts, isDead, holdsLane, dueAtMs: isMistaken ? dueAtMs : queueDueAtMs(state, nowMs) };
  }
}

function sharesName(a: Change, b: Change): boolean {
  const names = [a.docname, a.oldDocname].filter((name) => name !== null);
  return names.some((name) => name === b.docname || name === b.oldDocname);
}
