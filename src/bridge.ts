import { setTimeout as sleep } from "node:timers/promises";
import type { Kysely } from "kysely";
import type pg from "pg";
import { Subject, type Observable } from "rxjs";
import { settingsOf, type BridgeOptions, type BridgeSettings } from "./bridge-settings.ts";
import { boundedPool } from "./db/bounded-pool.ts";
import { connectionConfig, displayUrl } from "./db/connection.ts";
import type { Database } from "./db/schema.ts";
import type { AttemptRecord, Outcome } from "./deliver/attempt-record.ts";
import { AddressGuard } from "./deliver/address-guard.ts";
import { DatabaseEndpoints } from "./deliver/database-endpoints.ts";
import { RoutingTransport } from "./deliver/routing-transport.ts";
import { deferred, type Deferred } from "./deferred.ts";
import { explain, WalhookError } from "./errors.ts";
import { GapError } from "./slot/gap.ts";
import { gapOfError } from "./slot/gap-of-error.ts";
import { showEnded, showFailure, showGap } from "./record/bridge-row.ts";
import { openSession, type Session, type Tenure } from "./session.ts";

export type { AttemptRecord, BridgeOptions, Outcome };
export { GapError, WalhookError };

/**
 * `starting`: nothing was read yet. `running`: it streams. `waiting`: an attempt failed, the next one comes by itself.
 * `stopped` and `failed` are final.
 */
export type BridgeState = "starting" | "running" | "waiting" | "stopped" | "failed";

/** What a bridge does, as it happens. */
export type BridgeActivity =
  | {
      readonly kind: "state";
      readonly state: BridgeState;
      /** Why it waits, or has failed; null in every other state. */
      readonly error: WalhookError | null;
    }
  /** An attempt ended, or a delivery was settled without one. Its log row may still be on its way. */
  | { readonly kind: "attempt"; readonly attempt: AttemptRecord };

/** A bridge between one database and its webhooks. */
export interface Bridge {
  /**
   * Starts; resolves once it streams for the first time, or was stopped before. Idempotent.
   * @throws WalhookError where somebody has to act first: its `hint` says what; GapError where changes may be missing
   */
  start(): Promise<void>;
  /** Ends in order: intake, requests under way, last checkpoint, last acknowledgement. Idempotent. */
  stop(): Promise<void>;
  /** Settles when the bridge is over: resolves after `stop`, rejects as `start` does where somebody has to act. */
  readonly done: Promise<void>;
  /** What happens from now on; completes when the bridge is over, and never errors. */
  readonly activity: Observable<BridgeActivity>;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Makes a bridge; nothing happens before `start`. The schema has to be installed (`walhook install`).
 * While the database is down, or another bridge holds the slot, it waits and tries again with backoff;
 * what only a person can mend ends it, with the reason in `walhook.bridge.last_error`.
 */
export function createBridge(options: BridgeOptions): Bridge {
  return new DatabaseBridge(settingsOf(options));
}

const MIN_BACKOFF_MS = 100;
const MAX_BACKOFF_MS = 10_000;
/** Who waits for the slot asks this often, so that it takes over soon. */
const MAX_SLOT_BACKOFF_MS = 1_000;
/** A session that lasted so long was a good one: the next failure is a first one. */
const HEALTHY_AFTER_MS = 10_000;

/** For what events may have to wait for: nothing on them takes long. */
const MAIN_CONNECTIONS = 3;
/** For reading rows and the log, and for the log's maintenance. */
const SLOW_CONNECTIONS = 6;
/** Stopping does not wait longer than this for statements that are blocked or slow. */
const END_WITHIN_MS = 1_000;

class DatabaseBridge implements Bridge {
  readonly done: Promise<void>;
  readonly activity: Observable<BridgeActivity>;
  readonly #settings: BridgeSettings;
  readonly #activity = new Subject<BridgeActivity>();
  readonly #stopping = new AbortController();
  #session: Session | null = null;
  #tenure: Tenure | null = null;
  /** Since the last good session. */
  #failures = 0;
  /** How often in a row the slot was somebody else's. */
  #turns = 0;
  #life: Promise<void> | null = null;
  readonly #started: Deferred<void> = deferred<void>();
  readonly #settled: Deferred<void> = deferred<void>();

  constructor(settings: BridgeSettings) {
    this.#settings = settings;
    this.activity = this.#activity.asObservable();
    this.done = this.#settled.promise;
  }

  start(): Promise<void> {
    this.#life ??= this.#live(this.#started.resolve).then(
      () => {
        this.#started.resolve();
        this.#settled.resolve();
      },
      (error: unknown) => {
        this.#started.reject(error);
        this.#settled.reject(error);
      },
    );
    return this.#started.promise;
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#session?.stop();
    await this.#life;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #live(onRunning: () => void): Promise<void> {
    const settings = this.#settings;
    const own = new DatabaseEndpoints([settings.databaseUrl, settings.replicationUrl]);
    const guard = new AddressGuard({
      mode: settings.addressMode,
      allow: settings.allowAddresses,
      deny: settings.denyAddresses,
      own,
    });
    const main = boundedPool(connectionConfig(settings.databaseUrl, "walhook"), MAIN_CONNECTIONS, (client) =>
      own.notePeer(client),
    );
    const slow = boundedPool(connectionConfig(settings.databaseUrl, "walhook background"), SLOW_CONNECTIONS);
    const { pool, db } = main;
    const transport = new RoutingTransport({ guard, tlsDirectory: settings.tlsDirectory });
    const { signal } = this.#stopping;
    let openedAt: number | null = null;
    try {
      this.#announce("starting");
      while (!signal.aborted) {
        try {
          await own.refresh();
          this.#session = await openSession({
            settings,
            main,
            slow,
            transport,
            onAttempt: (attempt) => this.#tell(attempt),
            former: this.#tenure,
            onTenure: (tenure) => {
              this.#tenure = tenure;
            },
          });
          openedAt = performance.now();
          this.#announce("running");
          onRunning();
          if (signal.aborted) await this.#session.stop();
          await this.#session.done;
        } catch (error) {
          if (signal.aborted) {
            // Found as it was stopped: who starts it again must not miss it.
            if (error instanceof GapError) await this.#showGap(error, db).catch(() => {});
            break;
          }
          if (openedAt !== null && performance.now() - openedAt > HEALTHY_AFTER_MS) this.#failures = 0;
          openedAt = null;
          await this.#recoverFrom(error, db, pool);
        }
      }
      if (this.#tenure !== null) await showEnded(db, this.#tenure.epoch).catch(() => {});
      this.#announce("stopped");
    } finally {
      this.#session = null;
      await transport.close();
      await Promise.all([main.end(END_WITHIN_MS), slow.end(END_WITHIN_MS)]);
      this.#activity.complete();
    }
  }

  /** Waits where the same attempt can succeed later; throws where somebody has to act. */
  async #recoverFrom(reported: unknown, db: Kysely<Database>, pool: pg.Pool): Promise<void> {
    const cause = await gapOfError(reported, pool).catch(() => reported);
    const error = explain(cause, `running on ${displayUrl(this.#settings.databaseUrl)}`);
    const { kind, code } = error;
    if (kind === "fatal") {
      if (error instanceof GapError) await this.#showGap(error, db).catch(() => {});
      // The row belongs to whoever has taken over.
      else if (code !== "fenced") await showFailure(db, this.#tenure?.epoch ?? null, cause).catch(() => {});
      this.#announce("failed", error);
      throw error;
    }
    this.#announce("waiting", error);
    // Waiting for one's turn is no failure: whatever comes after it is tried again soon.
    const isTurn = code === "slot_in_use";
    const times = isTurn ? this.#turns++ : this.#failures++;
    if (!isTurn) this.#turns = 0;
    const maxMs = isTurn ? MAX_SLOT_BACKOFF_MS : MAX_BACKOFF_MS;
    const backoffMs = Math.min(MIN_BACKOFF_MS * 2 ** times, maxMs) * (0.5 + Math.random() / 2);
    // Stopping ends the wait early.
    await sleep(backoffMs, undefined, { signal: this.#stopping.signal }).catch(() => {});
  }

  #showGap({ gap, hint }: GapError, db: Kysely<Database>): Promise<void> {
    return showGap(db, this.#tenure?.epoch ?? null, gap, hint);
  }

  #announce(state: BridgeState, error: WalhookError | null = null): void {
    this.#activity.next({ kind: "state", state, error });
  }

  #tell(attempt: AttemptRecord): void {
    if (this.#activity.observed) this.#activity.next({ kind: "attempt", attempt });
  }
}
