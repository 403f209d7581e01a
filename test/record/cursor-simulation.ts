import { SimulatedBridge } from "./cursor-simulation-bridge.ts";
import { SimulatedDatabase } from "./cursor-simulation-database.ts";
import type { Mutant } from "./cursor-simulation-mutants.ts";
import { SimulatedServer } from "./cursor-simulation-server.ts";
import { SimulatedWal } from "./cursor-simulation-wal.ts";
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
}

/**
 * The cursor under crashes: a log of transactions, a server that sends them from the acknowledged LSN on, and a
 * bridge that decodes, delivers, makes checkpoints and acknowledges, with a crash between any two steps. No clock
 * and no I/O: a schedule is a seed. One instance runs many schedules, one after the other, at some 30 µs each.
 */
export class CursorSimulation {
  readonly coverage: Coverage = { crashes: 0, atCommit: 0, inside: 0, forgotten: 0, fenced: 0 };
  readonly #mutant: Mutant;
  readonly #wal = new SimulatedWal();
  readonly #database = new SimulatedDatabase(this.#wal);
  #random: () => number = () => 0;
  readonly #below = (n: number): number => Math.floor(this.#random() * n);
  /** Was taken over while it stood still, and does not know yet. */
  #frozen: SimulatedBridge | null = null;

  constructor(mutant: Mutant = null) {
    this.#mutant = mutant;
  }

  /** Runs one schedule. Returns what went wrong, or null. */
  run(seed: number): string | null {
    this.#random = seeded(seed);
    this.#wal.generate(this.#below);
    this.#database.reset(this.#below(20));
    this.#frozen = null;
    for (let crashes = this.#below(4); crashes > 0 && this.#database.problem === null; crashes--) {
      const bridge = this.#start();
      for (let steps = this.#below(80); steps > 0 && this.#database.problem === null; steps--) {
        bridge.step();
        if (this.#frozen !== null) this.#thaw(1);
      }
      this.#crash(bridge);
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
    const epoch = ++database.epoch;
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
    bridge.disconnect();
    const how = this.#below(6);
    this.#frozen = how < 2 ? bridge : null;
    if (how !== 2) return;
    if (this.#database.savedConfirmed < this.#database.confirmed) this.coverage.forgotten++;
    this.#database.forget();
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
