import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import { isAccepted, readArrivals, type Arrival } from "../receiver/arrival.ts";
import { changesOn, type Changes } from "../workload/changes.ts";
import { askBackfill, rowsMeant } from "../repairs/ask-backfill.ts";
import { askReplay } from "../repairs/ask-replay.ts";
import type { Asked, AskedBackfill, AskedReplay } from "../repairs/asked.ts";
import type { FailPointName } from "../bridges/fail-points.ts";
import type { Contender } from "../faults/fault.ts";
import { TABLES, type WatchedTable } from "../workload/watched-table.ts";
import type { WatchedWebhook } from "../workload/webhooks.ts";
import type { World } from "../world.ts";

/** A fault in exactly the moment in which one mistake shows, instead of waiting for chance to find it. */
export interface Scenario {
  readonly name: string;
  /** Environment of the bridges. */
  readonly env?: Readonly<Record<string, string>>;
  readonly play: (stage: Stage) => Promise<void>;
}

/** Choices of who leaves nothing out: a long stretch, all of it, and not only to count. */
const ALL_OF_IT = {
  between: (_least: number, most: number): number => most,
  chance: (): boolean => false,
  pick: <T>(items: readonly T[]): T => items[0]!,
};

/** Two bridges, neither of them started, and what a scenario does to them and to the database. */
export class Stage {
  readonly world: World;
  readonly a: Contender;
  readonly b: Contender;
  /** Changes of the application, each a transaction of its own. */
  readonly changes: Changes;
  readonly superuser: pg.Client;
  readonly #backfills: AskedBackfill[] = [];
  readonly #replays: AskedReplay[] = [];

  constructor(world: World, [a, b]: readonly [Contender, Contender], app: pg.Client, superuser: pg.Client) {
    this.world = world;
    this.a = a;
    this.b = b;
    this.changes = changesOn(app);
    this.superuser = superuser;
  }

  /** Starts a bridge and waits until it has the slot. */
  async start({ process }: Contender): Promise<void> {
    process.start();
    await this.until("the slot is in use", () => this.says("select from pg_replication_slots where active"));
    await this.until("the bridge runs", async () => process.lines.some((line) => line.includes(`"message":"running"`)));
  }

  /** Ends a bridge at once; it stays ended until `start`. */
  async kill({ process }: Contender): Promise<void> {
    await process.stop("SIGKILL");
  }

  /** The bridge will stand still where it next passes this place. Returns how to wait for that. */
  arm({ process }: Contender, name: FailPointName): () => Promise<void> {
    process.arm({ name, passes: 1, signal: "SIGSTOP" });
    return () => this.until(`stands still ${name}`, async () => process.lines.includes(`torture: SIGSTOP ${name}`));
  }

  /** Keeps checkpoints from being written meanwhile. */
  async withoutCheckpoints(meanwhile: () => Promise<void>): Promise<void> {
    await this.superuser.query("begin; lock table walhook.bridge in access exclusive mode");
    try {
      await meanwhile();
    } finally {
      await this.superuser.query("rollback");
    }
  }

  /** Whether within so long the slot is told everything that has been written until now. */
  isAllAcknowledged(withinMs: number): Promise<boolean> {
    return this.#holds(withinMs, () =>
      this.says("select from pg_replication_slots where confirmed_flush_lsn >= pg_current_wal_insert_lsn()"),
    );
  }

  /** Whether the log says `delivered` so often, within so long. */
  isLogged(rows: number, withinMs: number): Promise<boolean> {
    return this.#holds(withinMs, () =>
      this.says(
        `select where (select count(*) from walhook.webhook_request_log where outcome = 'delivered') >= ${rows}`,
      ),
    );
  }

  async arrived(webhook: string, fits: (arrival: Arrival) => boolean = () => true): Promise<Arrival> {
    return this.#arrival(webhook, fits);
  }

  /** Asks for a backfill of all rows. */
  async backfill(webhook: string): Promise<void> {
    const watched = this.#webhook(webhook);
    await this.#asAdmin(async (admin) => {
      this.#backfills.push(await askBackfill(admin, watched, tableNamed(watched.doctype)));
    });
  }

  /** Asks that all deliveries be sent again. */
  async replay(webhook: string): Promise<void> {
    await this.#asAdmin(async (admin) => {
      const { replay } = await askReplay(admin, webhook, ALL_OF_IT);
      if (replay !== null) this.#replays.push(replay);
    });
  }

  /** When everything has ended: what was asked for. */
  async asked(): Promise<Asked> {
    for (const backfill of this.#backfills) {
      const { webhook, doctype, condition } = backfill;
      backfill.after = await rowsMeant(this.superuser, this.#webhook(webhook), tableNamed(doctype), condition);
    }
    return { backfills: this.#backfills, replays: this.#replays };
  }

  async accepted(webhook: string): Promise<Arrival> {
    return this.#arrival(webhook, isAccepted);
  }

  async until(what: string, holds: () => Promise<boolean>): Promise<void> {
    if (!(await this.#holds(15_000, holds))) throw new Error(`not within 15 s: ${what}`);
  }

  async #arrival(webhook: string, fits: (arrival: Arrival) => boolean): Promise<Arrival> {
    let found: Arrival | null = null;
    await this.until(`a request of ${webhook}`, async () => {
      for await (const arrival of readArrivals(this.world.arrivals)) {
        if (arrival.key.startsWith(`${webhook} `) && fits(arrival)) found = arrival;
      }
      return found !== null;
    });
    return found!;
  }

  /** Whether a query has a row. */
  async says(query: string): Promise<boolean> {
    return (await this.superuser.query(query)).rowCount !== 0;
  }

  #webhook(name: string): WatchedWebhook {
    const webhook = this.world.webhooks.find((candidate) => candidate.name === name);
    if (webhook === undefined) throw new Error(`there is no webhook ${name}`);
    return webhook;
  }

  async #asAdmin(ask: (admin: pg.Client) => Promise<void>): Promise<void> {
    const admin = await this.world.connect("admin");
    try {
      await admin.query("begin isolation level repeatable read");
      await ask(admin);
      await admin.query("commit");
    } finally {
      await admin.end();
    }
  }

  async #holds(withinMs: number, holds: () => Promise<boolean>): Promise<boolean> {
    for (const deadline = Date.now() + withinMs; ;) {
      if (await holds()) return true;
      if (Date.now() > deadline) return false;
      await sleep(5);
    }
  }
}

/** One of the tables that are there from the beginning. */
export function tableNamed(name: string): WatchedTable {
  const table = TABLES.find((candidate) => candidate.name === name);
  if (table === undefined) throw new Error(`there is no table ${name}`);
  return table;
}
