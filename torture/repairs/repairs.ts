import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import type { Random } from "../random.ts";
import type { WatchedTable } from "../workload/watched-table.ts";
import type { WatchedWebhook } from "../workload/webhooks.ts";
import type { World } from "../world.ts";
import { askBackfill, rowsMeant } from "./ask-backfill.ts";
import { askReplay } from "./ask-replay.ts";
import type { Asked, AskedBackfill, AskedReplay } from "./asked.ts";

/** Asked for at the same time, at most. */
const MOST_BACKFILLS = 2;
const LOOK_EVERY_MS = 200;
/** Longer than the server is ever away. */
const PATIENCE_MS = 60_000;

/**
 * Somebody who repairs while everything goes wrong: has rows sent that exist, has deliveries sent again, pauses webhooks;
 * some of it is paused, resumed, cancelled or stopped on the way.
 */
export class Repairs {
  readonly backfills: AskedBackfill[] = [];
  readonly replays: AskedReplay[] = [];
  /** What answers of replays said that the log does not. */
  readonly differences: unknown[] = [];
  pauses = 0;
  /** Could not be asked, the server being away. */
  failures = 0;
  readonly #world: World;
  readonly #tables: readonly WatchedTable[];
  readonly #random: Random;
  readonly #ending = new AbortController();
  readonly #open = new Set<Promise<void>>();
  #work: Promise<void> = Promise.resolve();
  #openBackfills = 0;

  /** @param tables those that are there now; more may come */
  constructor(world: World, tables: readonly WatchedTable[], random: Random) {
    this.#world = world;
    this.#tables = tables;
    this.#random = random;
  }

  start(): void {
    this.#work = this.#repair();
  }

  /** Asks for nothing more; resolves when nothing is paused any more. Backfills and replays may go on. */
  async stop(): Promise<void> {
    this.#ending.abort();
    await this.#work;
    await Promise.all(this.#open);
  }

  /** When everything has ended: what was asked, without what the server never committed. */
  async conclude(): Promise<Asked> {
    for (const backfill of this.backfills) {
      if (backfill.after === null) await this.#lookAt(backfill);
    }
    const client = await this.#world.connect("admin");
    try {
      const known = async (view: string, id: string): Promise<ReadonlySet<string>> =>
        new Set(
          (await client.query<{ id: string }>(`select ${id}::text as id from ${view}`)).rows.map((row) => row.id),
        );
      const backfills = await known("walhook.backfill_progress", "backfill_id");
      const replays = await known("walhook.replay_progress", "replay_id");
      return {
        backfills: this.backfills.filter(({ id }) => backfills.has(id)),
        replays: this.replays.filter(({ id }) => replays.has(id)),
      };
    } finally {
      await client.end();
    }
  }

  async #repair(): Promise<void> {
    const random = this.#random;
    while (!this.#ending.signal.aborted) {
      await this.#pause(random.between(300, 1500));
      if (this.#ending.signal.aborted) return;
      const webhook = random.pick(this.#world.webhooks);
      const kind = random.next();
      // Choices are made here, in order, whatever becomes of each.
      if (kind < 0.45) this.#begin(this.#backfill(webhook, random.fork()));
      else if (kind < 0.85) this.#begin(this.#replay(webhook, random.fork()));
      else this.#begin(this.#pauseWebhook(webhook, random.fork()));
    }
  }

  #begin(work: Promise<void>): void {
    const open = work
      .catch(() => {
        this.failures++;
      })
      .finally(() => this.#open.delete(open));
    this.#open.add(open);
  }

  async #backfill(webhook: WatchedWebhook, random: Random): Promise<void> {
    const table = this.#tableOf(webhook);
    if (table === undefined || table.key.length === 0 || this.#openBackfills >= MOST_BACKFILLS) return;
    this.#openBackfills++;
    try {
      const backfill = await this.#inTransaction("read committed", async (client) => {
        const asked = await askBackfill(client, webhook, table);
        // A number that a crash of the server has taken back is given anew.
        const former = this.backfills.findIndex(({ id }) => id === asked.id);
        if (former >= 0) this.backfills.splice(former, 1);
        // Before the commit, whose answer may be lost.
        this.backfills.push(asked);
        return asked;
      });
      const fate = random.next();
      if (fate < 0.15) await this.#later(random, "walhook.cancel_backfill", backfill.id);
      else if (fate < 0.4) {
        await this.#later(random, "walhook.pause_backfill", backfill.id);
        await this.#later(random, "walhook.resume_backfill", backfill.id);
      }
      while (!this.#ending.signal.aborted && (await this.#lookAt(backfill).catch(() => true))) {
        await this.#pause(LOOK_EVERY_MS);
      }
    } finally {
      this.#openBackfills--;
    }
  }

  /** Notes the rows as they are where it is done. Returns whether it goes on. */
  async #lookAt(backfill: AskedBackfill): Promise<boolean> {
    const webhook = this.#world.webhooks.find(({ name }) => name === backfill.webhook)!;
    const client = await this.#world.connect("admin");
    try {
      const { rows } = await client.query<{ state: string }>(
        "select state from walhook.backfill_progress where backfill_id = $1",
        [backfill.id],
      );
      const state = rows[0]?.state;
      if (state === "done") {
        backfill.after = await rowsMeant(client, webhook, this.#tableOf(webhook)!, backfill.condition);
      }
      return state === "new" || state === "running" || state === "paused";
    } finally {
      await client.end();
    }
  }

  async #replay(webhook: WatchedWebhook, random: Random): Promise<void> {
    const asked = await this.#inTransaction("repeatable read", async (client) => {
      const { replay, difference } = await askReplay(client, webhook.name, random);
      if (difference !== null) this.differences.push(difference);
      if (replay !== null) {
        const former = this.replays.findIndex(({ id }) => id === replay.id);
        if (former >= 0) this.replays.splice(former, 1);
        this.replays.push(replay);
      }
      return replay;
    });
    if (asked === null || !random.chance(0.1)) return;
    asked.isStopped = true;
    await this.#later(random, "walhook.stop_replay", asked.id);
  }

  async #pauseWebhook({ name }: WatchedWebhook, random: Random): Promise<void> {
    this.pauses++;
    try {
      await this.#call("walhook.pause", name);
      await this.#pause(random.between(200, 2500));
    } finally {
      await this.#untilDone(() => this.#call("walhook.resume", name));
    }
  }

  /** Whatever was paused must not stay so, and what was cancelled must be known to be. */
  async #later(random: Random, call: string, argument: string): Promise<void> {
    await this.#pause(random.between(100, 2000));
    await this.#untilDone(() => this.#call(call, argument));
  }

  async #untilDone(call: () => Promise<void>): Promise<void> {
    for (const deadline = Date.now() + PATIENCE_MS; ;) {
      try {
        return await call();
      } catch (error) {
        // It was never committed: there is nothing to stop.
        if (error instanceof Error && /^there is no (backfill|replay)/.test(error.message)) return;
        if (Date.now() > deadline) throw error;
        await sleep(LOOK_EVERY_MS);
      }
    }
  }

  async #call(name: string, argument: string): Promise<void> {
    const client = await this.#world.connect("admin");
    try {
      await client.query(`select ${name}($1)`, [argument]);
    } finally {
      await client.end().catch(() => {});
    }
  }

  async #inTransaction<T>(isolation: string, ask: (client: pg.Client) => Promise<T>): Promise<T> {
    const client = await this.#world.connect("admin");
    try {
      await client.query(`set lock_timeout = '2s'; begin isolation level ${isolation}`);
      const answer = await ask(client);
      await client.query("commit");
      return answer;
    } finally {
      await client.end().catch(() => {});
    }
  }

  #tableOf({ doctype }: WatchedWebhook): WatchedTable | undefined {
    return this.#tables.find(({ name }) => name === doctype);
  }

  async #pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#ending.signal }).catch(() => {});
  }
}
