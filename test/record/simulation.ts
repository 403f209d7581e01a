import { seeded } from "./seeded.ts";
import { SimulatedDatabase } from "./simulation-database.ts";
import type { Mutant } from "./simulation-mutants.ts";
import { SimulatedProcess } from "./simulation-process.ts";
import { appendRepair, conflicts, HOLDING, makeWal, type Dice, type Transaction } from "./simulation-wal.ts";

export interface Result {
  readonly crashes: number;
  /** Deliveries that were given up, and how many of them held their lane. */
  readonly dead: number;
  readonly held: number;
  readonly problems: readonly string[];
}

/**
 * Runs the real Tracker and Lanes against a simulated WAL, database and receiver, with a crash possible
 * between any two steps, then drains. No clock, no I/O: a schedule is a seed.
 */
export function simulate(seed: number, mutant: Mutant = null): Result {
  const random = seeded(seed);
  const dice: Dice = { chance: (p) => random() < p, below: (n) => Math.floor(random() * n) };
  const wal = makeWal(dice);
  const moments = new Moments();
  const database = new SimulatedDatabase(mutant, (id) => moments.pass(id));
  let crashes = 0;
  let dead = 0;
  let held = 0;
  let nowMs = 0;
  const start = (isFailing: boolean): SimulatedProcess => {
    const onDead = (id: string, holdsLane: boolean): void => {
      dead++;
      if (holdsLane) held++;
      else moments.pass(id);
    };
    const onReceived = (id: string): void => moments.receive(id);
    return new SimulatedProcess({ wal, database, dice, mutant, isFailing, onReceived, onDead }, nowMs);
  };
  while (crashes < 12 && dice.chance(0.9)) {
    const process = start(true);
    for (let step = 0; step < 200; step++) process.step();
    nowMs = process.nowMs;
    crashes++;
  }
  const process = start(false);
  for (let step = 0, idle = 0; idle < 50; step++) {
    process.step();
    const rows = [...database.queue.values()];
    if (process.isIdle && rows.every(({ isDead, holdsLane }) => isDead && !holdsLane)) idle++;
    // Whatever a dead letter holds waits until somebody asks for it.
    const isHeld = process.isIdle && rows.some(({ holdsLane }) => holdsLane);
    if (isHeld && step % 100 === 0) appendRepair(wal, { kind: "replay", webhookId: HOLDING });
    if (step < 20_000) continue;
    database.problems.push("it does not drain");
    break;
  }
  return { crashes, dead, held, problems: [...database.problems, ...findProblems(wal, database, moments)] };
}

/** When things happened for the first time, by delivery, in an order that is common to all. */
class Moments {
  #clock = 0;
  readonly received = new Map<string, number>();
  /** Received, cancelled, or given up without holding its lane: from here on the next of its lane may go. */
  readonly passed = new Map<string, number>();

  receive(id: string): void {
    if (!this.received.has(id)) this.received.set(id, this.#clock++);
    this.pass(id);
  }

  pass(id: string): void {
    if (!this.passed.has(id)) this.passed.set(id, this.#clock++);
  }
}

function findProblems(wal: readonly Transaction[], database: SimulatedDatabase, moments: Moments): string[] {
  const problems: string[] = [];
  const changes = wal.flatMap((transaction) => transaction.changes);
  for (const { id } of changes) {
    const count = (outcome: string): number =>
      database.log.filter((row) => row.id === id && row.outcome === outcome).length;
    const row = database.queue.get(id);
    const ends = count("delivered") + count("cancelled") + (row === undefined ? 0 : 1);
    if (ends !== 1) problems.push(`${id} has ${ends} ends`);
    if (count("delivered") === 1 && !moments.received.has(id)) problems.push(`${id} was never received`);
    if (row !== undefined && (!row.isDead || count("dead") === 0)) problems.push(`${id} stays in the queue`);
  }
  for (const [i, earlier] of changes.entries()) {
    for (const later of changes.slice(i + 1)) {
      if (!conflicts(earlier, later)) continue;
      const passed = moments.passed.get(earlier.id) ?? Infinity;
      if ((moments.received.get(later.id) ?? Infinity) < passed) problems.push(`${later.id} overtook ${earlier.id}`);
    }
  }
  return problems;
}
