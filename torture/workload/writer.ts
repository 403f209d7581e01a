import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import type { Random } from "../random.ts";
import type { Scene, TransactionKind } from "./transactions.ts";
import type { World } from "../world.ts";

export interface WriterOptions {
  readonly world: World;
  readonly random: Random;
  readonly scene: Omit<Scene, "client" | "random">;
  /** What it makes next, and how long it waits before, in ms. */
  readonly next: (random: Random) => { readonly kind: TransactionKind; readonly pauseMs: number };
  /** Aborted when it is time to end. */
  readonly signal: AbortSignal;
  /** A transaction was committed, rolled back on purpose, or failed. */
  readonly onTransaction: (kind: string, error: Error | null) => void;
}

/** Waits for a lock no longer than this: the next transaction may be luckier. */
const SESSION = "set lock_timeout = '2s'; set idle_in_transaction_session_timeout = '20s'";

/** Makes transaction after transaction until it is told to end; connects again whenever it has lost its connection. */
export async function write({ world, random, scene, next, signal, onTransaction }: WriterOptions): Promise<void> {
  let due: TransactionKind | null = null;
  while (!signal.aborted) {
    let client: pg.Client | null = null;
    try {
      client = await world.connect("app");
      await client.query(SESSION);
      await writeOn(client);
    } catch {
      await sleep(200);
    } finally {
      await client?.end().catch(() => {});
    }
  }

  async function writeOn(client: pg.Client): Promise<void> {
    for (;;) {
      due ??= await following();
      if (signal.aborted) return;
      let failure: Error | null = null;
      try {
        await due.run({ ...scene, client, random });
      } catch (error) {
        failure = error instanceof Error ? error : new Error(String(error));
      }
      onTransaction(due.name, failure);
      // With the connection gone it is tried again on the next one.
      if (failure !== null && !isServersRefusal(failure)) throw failure;
      due = null;
    }
  }

  async function following(): Promise<TransactionKind> {
    const { kind, pauseMs } = next(random);
    await sleep(pauseMs, undefined, { signal }).catch(() => {});
    return kind;
  }
}

/** The server said no to a statement; the connection is fine. */
function isServersRefusal(error: Error): boolean {
  return error instanceof pg.DatabaseError && !/^(57P|08)/.test(error.code ?? "");
}
