import { setTimeout as sleep } from "node:timers/promises";
import type { Random } from "../random.ts";
import { SchemaChanges } from "./schema-changes.ts";
import { TABLES, type WatchedTable } from "./watched-table.ts";
import { HUGE, TRANSACTIONS } from "./transactions.ts";
import { write, type WriterOptions } from "./writer.ts";
import type { World } from "../world.ts";

export interface WorkloadOptions {
  readonly world: World;
  readonly random: Random;
  readonly writers: number;
  readonly hugeRows: number;
  /** A huge transaction comes so often, in ms. */
  readonly hugeEveryMs: number;
}

/** The application: several writers, and somebody who changes the schema beside them. */
export class Workload {
  /** Transactions by kind: finished as meant, and failed. */
  readonly transactions = new Map<string, { done: number; failed: number }>();
  /** What the failures said. */
  readonly refusals = new Map<string, number>();
  readonly schema: SchemaChanges;
  readonly #options: WorkloadOptions;
  readonly #ending = new AbortController();
  readonly #tables: WatchedTable[] = [...TABLES];
  readonly #prepared = new Set<Promise<void>>();
  #writers: Promise<unknown> = Promise.resolve();
  #gid = 0;

  constructor(options: WorkloadOptions) {
    this.#options = options;
    this.schema = new SchemaChanges(options.world, (table) => this.#tables.push(table));
  }

  /** Tables that are there now; more may come. */
  get tables(): readonly WatchedTable[] {
    return this.#tables;
  }

  start(): void {
    const { writers, hugeEveryMs } = this.#options;
    const many = Array.from({ length: writers }, () =>
      this.#write((choice) => ({ kind: choice.weighted(TRANSACTIONS), pauseMs: choice.between(5, 80) })),
    );
    const huge = this.#write((choice) => ({ kind: HUGE, pauseMs: hugeEveryMs * (0.5 + choice.next() / 2) }));
    this.#writers = Promise.all([...many, huge]);
  }

  #write(next: WriterOptions["next"]): Promise<void> {
    const { world, random, hugeRows } = this.#options;
    return write({
      world,
      next,
      random: random.fork(),
      signal: this.#ending.signal,
      scene: {
        tables: this.#tables,
        hugeRows,
        gid: () => `prepared ${++this.#gid}`,
        finishPrepared: (gid, isCommitted) => this.#finishLater(gid, isCommitted),
      },
      onTransaction: (kind, error) => this.#count(kind, error),
    });
  }

  /** Ends when each writer has ended its transaction, and none is left prepared. */
  async stop(): Promise<void> {
    this.#ending.abort();
    await this.#writers;
    await Promise.all(this.#prepared);
  }

  #finishLater(gid: string, isCommitted: boolean): void {
    const finishing = this.#finish(gid, isCommitted).finally(() => this.#prepared.delete(finishing));
    this.#prepared.add(finishing);
  }

  async #finish(gid: string, isCommitted: boolean): Promise<void> {
    await sleep(this.#options.random.between(50, 3000));
    // Until it is gone: whatever becomes of a connection, the server keeps what was prepared.
    for (;;) {
      try {
        const client = await this.#options.world.connect("app");
        try {
          const { rowCount } = await client.query("select from pg_prepared_xacts where gid = $1", [gid]);
          if (rowCount === 0) return;
          await client.query(`${isCommitted ? "commit" : "rollback"} prepared '${gid}'`);
        } finally {
          await client.end();
        }
      } catch {
        await sleep(200);
      }
    }
  }

  #count(kind: string, error: Error | null): void {
    const counts = this.transactions.get(kind) ?? { done: 0, failed: 0 };
    this.transactions.set(kind, counts);
    if (error === null) {
      counts.done++;
      return;
    }
    counts.failed++;
    this.refusals.set(error.message, (this.refusals.get(error.message) ?? 0) + 1);
  }
}
