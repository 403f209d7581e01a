import { SimulatedBridge } from "./cursor-simulation-bridge.ts";
import { SimulatedDatabase } from "./cursor-simulation-database.ts";
import type { Mutant } from "./cursor-simulation-mutants.ts";
import { SimulatedServer } from "./cursor-simulation-server.ts";
import { BYTE, placeOf, SimulatedWal } from "./cursor-simulation-wal.ts";
import { seeded } from "./seeded.ts";

/** How often what matters has happened, to see that the schedules are worth their time. */
export interface Coverage {
  crashes: number;
  /** The slot stood exactly where a COMMIT record begins. */
  atCommit: number;
  /** The cursor stood inside of a transaction. */
  inside: number;
  /** The server crashed as well, and the slot had forgotten something. */
  forgotten: number;
  /** A bridge that was taken over tried to write. */
  fenced: number;
  /** A bridge stopped in order, to the end. */
  stopped: number;
  /** Somebody moved the slot after that, and it was found. */
  moved: number;
}

/**
 * The cursor under crashes: a log of transactions, a server that sends them from the acknowledged LSN on, and a
 * bridge that decodes, delivers, makes checkpoints and acknowledges, with a crash between any two steps. No clock
 * and no I/O: a schedule is a seed. One instance runs many schedules, one after the other, at some 30 µs each.
 */
export class CursorSimulation {
  readonly coverage: Coverage = { crashes: 0, atCommit: 0, inside: 0, forgotten: 0, fenced: 0, stopped: 0, moved: 0 };
  readonly #mutant: Mutant;
  readonly #wal = new SimulatedWal();
  readonly #database = new SimulatedDatabase(this.#wal);
  #random: () => number = () => 0;
  readonly #below = (n: number): number => Math.floor(this.#random() * n);
  /** Was taken over while it stood still, and does not know yet. */
  #frozen: SimulatedBridge | null = null;
  /** The former session of the same process, which knows what it has told the slot. */
  #former: SimulatedBridge | null = null;
  /** Whether somebody else moved the slot. */
  #isMoved = false;

  constructor(mutant: Mutant = null) {
    this.#mutant = mutant;
  }

  /** Runs one schedule. Returns what went wrong, or null. */
  run(seed: number): string | null {
    this.#random = seeded(seed);
    this.#wal.generate(this.#below);
    this.#database.reset(this.#below(20));
    this.#frozen = this.#former = null;
    this.#isMoved = false;
    for (let crashes = this.#below(4); crashes > 0 && this.#database.problem === null; crashes--) {
      const bridge = this.#start();
      for (let steps = this.#below(80); steps > 0 && this.#database.problem === null; steps--) {
        bridge.step();
        if (this.#frozen !== null) this.#thaw(1);
      }
      this.#crash(bridge);
      if (this.#isMoved) return this.#findMoved();
    }
    const bridge = this.#start();
    if (this.#database.problem === null) {
      bridge.drain();
      this.#thaw(20);
      this.#database.checkEnd();
    }
    bridge.disconnect();
    return this.#database.problem;
  }

  /** START_REPLICATION first, then, in one statement, the epoch is raised and the cursor read. */
  #start(): SimulatedBridge {
    const database = this.#database;
    const early = database.cursor;
    const server = new SimulatedServer(this.#wal, database.confirmed, this.#below);
    this.#thaw(this.#below(4));
    if (this.#isFound()) database.fail("the slot is said to be moved, and nobody has moved it");
    const epoch = ++database.epoch;
    if (this.#mutant !== "stopped-place-kept") database.stopped = null;
    const cursor = this.#mutant === "cursor-read-early" ? early : database.cursor;
    database.checkRestart();
    if (this.#wal.isCommit(database.confirmed)) this.coverage.atCommit++;
    if (database.isInside) this.coverage.inside++;
    return new SimulatedBridge({
      wal: this.#wal,
      database,
      server,
      cursor,
      epoch,
      below: this.#below,
      mutant: this.#mutant,
    });
  }

  /** Whatever was only in memory is gone, or stands still and goes on later. */
  #crash(bridge: SimulatedBridge): void {
    this.coverage.crashes++;
    const database = this.#database;
    const how = this.#below(8);
    if (how === 4) bridge.stop();
    bridge.disconnect();
    this.#frozen = how < 2 ? bridge : null;
    this.#former = how === 3 ? bridge : null;
    if (how === 2) {
      if (database.savedConfirmed < database.confirmed) this.coverage.forgotten++;
      database.forget();
    }
    if (how !== 4 || database.stopped === null) return;
    this.coverage.stopped++;
    if (this.#below(4) > 0) return;
    const before = placeOf(database.stopped);
    database.confirmed = before + (this.#below(2) === 0 ? BYTE : this.#below(60));
    this.#isMoved = database.confirmed > before;
  }

  /** Whoever moved the slot, be it by a byte, is found before anything is streamed. */
  #findMoved(): string | null {
    if (!this.#isFound()) this.#database.fail("somebody moved the slot, and nobody notices");
    else this.coverage.moved++;
    return this.#database.problem;
  }

  #isFound(): boolean {
    const former = this.#former;
    return this.#database.isMoved(former?.epoch === this.#database.epoch ? former.acknowledged : null);
  }

  #thaw(steps: number): void {
    for (let i = 0; i < steps && this.#frozen !== null; i++) {
      this.#frozen.step();
      if (!this.#frozen.isFenced) continue;
      this.coverage.fenced++;
      this.#frozen = null;
    }
  }
}
