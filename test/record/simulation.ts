import { comparePositions, START, type Position } from "../../src/decode/position.ts";
import { endOfTransaction } from "../../src/decode/chunk.ts";
import { unsentRecord, type AttemptRecord } from "../../src/deliver/attempt-record.ts";
import { Lanes, laneKeys } from "../../src/deliver/lanes.ts";
import { newTicket, type Ticket } from "../../src/deliver/ticket.ts";
import { Tracker, type CheckpointPlan } from "../../src/record/tracker.ts";
import { seeded } from "./seeded.ts";

/** A change of the simulated WAL: one delivery each. */
interface Change {
  readonly id: string;
  readonly position: Position;
  readonly docname: string | null;
  readonly oldDocname: string | null;
  readonly isTruncate: boolean;
}
interface Transaction {
  readonly commitLsn: bigint;
  readonly endLsn: bigint;
  readonly changes: readonly Change[];
}
interface QueueRow {
  readonly change: Change;
  attempts: number;
  dueAtMs: number | null;
}

/** What survives a crash of the bridge. */
interface Durable {
  log: { id: string; outcome: string; position: Position }[];
  queue: Map<string, QueueRow>;
  position: Position;
  flushLsn: bigint;
  confirmedFlushLsn: bigint;
}

/** Known mistakes, to see that the simulation would find them. */
export type Mutant = "acknowledge-early" | "lane-ignored-on-retry" | "cursor-outside" | null;

export interface Result {
  readonly crashes: number;
  readonly problems: readonly string[];
}

/**
 * Runs the real Tracker and Lanes against a simulated WAL, database and receiver, with a crash possible
 * between any two steps, then drains. No clock, no I/O: a schedule is a seed.
 */
export function simulate(seed: number, mutant: Mutant = null): Result {
  const random = seeded(seed);
  const chance = (p: number): boolean => random() < p;
  const below = (n: number): number => Math.floor(random() * n);
  const wal = makeWal(below, chance);
  const durable: Durable = { log: [], queue: new Map(), position: START, flushLsn: 0n, confirmedFlushLsn: 0n };
  const received: string[] = [];
  let crashes = 0;
  let nowMs = 0;
  while (crashes < 12 && chance(0.9)) {
    nowMs = run(200);
    crashes++;
  }
  nowMs = run(Infinity);
  return { crashes, problems: findProblems(wal, durable, received) };

  /** One process, until it crashes after `steps` steps or has nothing left to do. */
  function run(steps: number): number {
    const lanes = new Lanes();
    const start = { position: durable.position, flushLsn: durable.flushLsn };
    const tracker = new Tracker(start, 3, (ticket) => lanes.park(ticket));
    const changeOf = new Map<string, Change>();
    const claimed = new Set<string>();
    const active: Ticket[] = [];
    let forgettable: Ticket[] = [];
    let next = wal.filter((tx) => tx.commitLsn >= durable.confirmedFlushLsn);
    let offset = 0;
    let lastEnd = durable.flushLsn;
    const failing = steps !== Infinity;

    const feed = (): void => {
      const tx = next[0];
      if (tx === undefined) return;
      const size = 1 + below(3);
      const changes = tx.changes.slice(offset, offset + size);
      const isWhole = offset + size >= tx.changes.length;
      const position = isWhole ? endOfTransaction(tx.commitLsn) : changes.at(-1)!.position;
      if (isWhole) {
        lastEnd = tx.endLsn;
        next = next.slice(1);
        offset = 0;
      } else offset += size;
      const fresh = changes.filter((change) => comparePositions(change.position, start.position) > 0);
      lanes.forgetDurable(forgettable);
      forgettable = [];
      const tickets = fresh.map((change) => {
        changeOf.set(change.id, change);
        const ticket = toTicket(change);
        const isParked = [...durable.queue.values()].some((row) => conflicts(row.change, change));
        lanes.enter(ticket, mutant === "lane-ignored-on-retry" ? false : isParked);
        active.push(ticket);
        return ticket;
      });
      tracker.admit({ position, flushLsn: lastEnd, bytes: 1, tickets, configuration: null }, nowMs);
    };
    const fetch = (): void => {
      const due = [...durable.queue.values()].filter(
        (row) => row.dueAtMs !== null && row.dueAtMs <= nowMs && !claimed.has(row.change.id),
      );
      const row = due[below(due.length)];
      if (row === undefined) return;
      claimed.add(row.change.id);
      changeOf.set(row.change.id, row.change);
      const ticket = toTicket(row.change);
      ticket.isDurable = true;
      ticket.attempts = row.attempts;
      ticket.state = "ready";
      active.push(ticket);
    };
    const begin = (): void => {
      const ready = active.filter(({ state }) => state === "ready");
      const ticket = ready[below(ready.length)];
      if (ticket !== undefined) ticket.state = "sending";
    };
    const finish = (): void => {
      const sending = active.filter(({ state }) => state === "sending");
      const ticket = sending[below(sending.length)];
      if (ticket === undefined) return;
      ticket.attempts++;
      const succeeds = !failing || chance(0.6);
      tracker.record(ticket, unsentRecord(ticket.delivery, succeeds ? "delivered" : "retry", "", nowMs));
      if (succeeds) {
        received.push(ticket.delivery.id);
        lanes.end(ticket);
      } else {
        ticket.dueAtMs = nowMs + 1 + below(5);
        lanes.park(ticket);
      }
      tracker.touch(ticket);
    };
    /** A checkpoint is three steps, with a crash possible after each. */
    let open: CheckpointPlan | null = null;
    let stage = 0;
    const checkpoint = (): void => {
      if (open === null) {
        open = tracker.plan(nowMs);
        stage = 0;
        for (const { ticket, isSending } of open?.enqueue ?? []) if (isSending) claimed.add(ticket.delivery.id);
        if (open !== null && mutant === "acknowledge-early") durable.confirmedFlushLsn = open.flushLsn;
        return;
      }
      stage++;
      if (stage === 1) {
        if (open.isWorthWriting) write(open, changeOf, nowMs);
        else if (mutant === "cursor-outside") durable.position = open.position;
      } else if (stage === 2) {
        const forgotten = tracker.committed(open);
        forgettable.push(...forgotten);
        for (const { ticket } of open.requeue) claimed.delete(ticket.delivery.id);
        for (const ticket of open.dequeue) claimed.delete(ticket.delivery.id);
      } else {
        if (open.flushLsn > durable.confirmedFlushLsn) durable.confirmedFlushLsn = open.flushLsn;
        open = null;
      }
    };
    const actions = [feed, fetch, begin, begin, finish, finish, checkpoint, checkpoint, (): number => nowMs++];
    let idle = 0;
    for (let step = 0; step < steps; step++) {
      actions[below(actions.length)]!();
      const isDone = next.length === 0 && durable.queue.size === 0 && tracker.depth === 0 && open === null;
      if (isDone && ++idle > 50) break;
      if (step > 200_000) throw new Error(`seed ${seed}: does not drain`);
    }
    return nowMs;
  }

  function write(plan: CheckpointPlan, changeOf: ReadonlyMap<string, Change>, at: number): void {
    for (const { delivery, outcome } of plan.records as AttemptRecord[]) {
      durable.log.push({ id: delivery.id, outcome, position: delivery.position });
    }
    for (const { ticket, attempts, dueAtMs, isSending } of plan.enqueue) {
      const change = changeOf.get(ticket.delivery.id)!;
      durable.queue.set(change.id, { change, attempts, dueAtMs: isSending ? at : dueAtMs });
    }
    for (const { ticket, attempts, dueAtMs } of plan.requeue) {
      const row = durable.queue.get(ticket.delivery.id);
      if (row !== undefined) Object.assign(row, { attempts, dueAtMs });
    }
    for (const ticket of plan.dequeue) durable.queue.delete(ticket.delivery.id);
    for (const row of durable.queue.values()) {
      if (row.dueAtMs !== null) continue;
      const isBlocked = [...durable.queue.values()].some(
        ({ change }) => comparePositions(change.position, row.change.position) < 0 && conflicts(change, row.change),
      );
      if (!isBlocked) row.dueAtMs = at;
    }
    if (mutant !== "cursor-outside") durable.position = plan.position;
    durable.flushLsn = plan.flushLsn;
  }
}

function makeWal(below: (n: number) => number, chance: (p: number) => boolean): readonly Transaction[] {
  const names = ["A", "B", "C"];
  const transactions: Transaction[] = [];
  let lsn = 100n;
  for (let t = 0; t < 12; t++) {
    const first = lsn;
    const count = below(6);
    const commitLsn = first + BigInt(count) + 1n;
    const changes: Change[] = [];
    for (let c = 0; c < count; c++) {
      const docname = chance(0.1) ? null : names[below(3)]!;
      changes.push({
        id: `${t}.${c}`,
        position: { commitLsn, changeLsn: first + BigInt(c), index: 0 },
        docname,
        oldDocname: docname !== null && chance(0.1) ? names[below(3)]! : null,
        isTruncate: docname === null && chance(0.5),
      });
    }
    lsn = commitLsn + 1n;
    transactions.push({ commitLsn, endLsn: lsn, changes });
  }
  return transactions;
}

function toTicket({ id, position, docname, oldDocname, isTruncate }: Change): Ticket {
  return newTicket(
    {
      id,
      webhookId: 1,
      webhookName: "w",
      doctype: "t",
      docname,
      oldDocname,
      docevent: isTruncate ? "on_truncate" : "on_update",
      source: "live",
      position,
      xid: 1,
      commitTimeUs: 0n,
      isOrdered: true,
    },
    null,
  );
}

function conflicts(a: Change, b: Change): boolean {
  if (a.isTruncate || b.isTruncate) return true;
  const keys = laneKeys(toTicket(a));
  return laneKeys(toTicket(b)).some((key) => keys.includes(key));
}

function findProblems(wal: readonly Transaction[], durable: Durable, received: readonly string[]): string[] {
  const problems: string[] = [];
  const changes = wal.flatMap((tx) => tx.changes);
  const first = new Map<string, number>();
  received.forEach((id, at) => first.set(id, first.get(id) ?? at));
  for (const { id } of changes) {
    if (!first.has(id)) problems.push(`${id} was never received`);
    const settled = durable.log.filter((row) => row.id === id && row.outcome === "delivered").length;
    if (settled !== 1) problems.push(`${id} stands in the log as delivered ${settled} times`);
  }
  for (const [i, earlier] of changes.entries()) {
    for (const later of changes.slice(i + 1)) {
      if (!conflicts(earlier, later)) continue;
      if ((first.get(earlier.id) ?? 0) > (first.get(later.id) ?? 0))
        problems.push(`${later.id} overtook ${earlier.id}`);
    }
  }
  if (durable.queue.size > 0) problems.push(`${durable.queue.size} rows stay in the queue`);
  return problems;
}
