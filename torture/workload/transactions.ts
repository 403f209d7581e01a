import { setTimeout as sleep } from "node:timers/promises";
import { pipeline } from "node:stream/promises";
import { Readable } from "node:stream";
import type pg from "pg";
import { from as copyFrom } from "pg-copy-streams";
import { changesOn, ledgerOfInserts, type Changes } from "./changes.ts";
import type { Random } from "../random.ts";
import type { WatchedTable } from "./watched-table.ts";

/** What a transaction is made with. */
export interface Scene {
  readonly client: pg.Client;
  readonly random: Random;
  /** Tables that are there now. */
  readonly tables: readonly WatchedTable[];
  /** Rows of a huge transaction. */
  readonly hugeRows: number;
  /** A name for a prepared transaction. */
  readonly gid: () => string;
  /** Finishes a prepared transaction later, from another connection. */
  readonly finishPrepared: (gid: string, isCommitted: boolean) => void;
}

/** A kind of transaction, and how often it comes beside the others. */
export interface TransactionKind {
  readonly name: string;
  readonly weight: number;
  readonly run: (scene: Scene) => Promise<void>;
}

export const TRANSACTIONS: readonly TransactionKind[] = [
  { name: "one change", weight: 300, run: (scene) => committed(scene, () => someChanges(scene, 1)) },
  { name: "several changes", weight: 300, run: (scene) => committed(scene, () => someChanges(scene, 6)) },
  { name: "copy", weight: 20, run: (scene) => committed(scene, () => copy(scene)) },
  { name: "savepoints", weight: 60, run: (scene) => committed(scene, () => savepoints(scene)) },
  { name: "aborted", weight: 60, run: (scene) => inTransaction(scene, () => someChanges(scene, 6), "rollback") },
  { name: "same key again", weight: 30, run: (scene) => committed(scene, () => sameKeyAgain(scene)) },
  { name: "long open", weight: 4, run: (scene) => committed(scene, () => longOpen(scene)) },
  { name: "prepared", weight: 12, run: prepared },
  { name: "truncate", weight: 2, run: (scene) => committed(scene, () => truncate(scene)) },
  { name: "unwatched", weight: 60, run: (scene) => committed(scene, () => unwatched(scene)) },
];

/** Made now and then, not by chance: there is at least one in each run. */
export const HUGE: TransactionKind = { name: "huge", weight: 0, run: (scene) => committed(scene, () => huge(scene)) };

function committed(scene: Scene, changes: () => Promise<void>): Promise<void> {
  return inTransaction(scene, changes, "commit");
}

async function inTransaction({ client }: Scene, changes: () => Promise<void>, end: string): Promise<void> {
  await client.query("begin");
  try {
    await changes();
  } catch (error) {
    await client.query("rollback");
    throw error;
  }
  await client.query(end);
}

async function someChanges(scene: Scene, most: number): Promise<void> {
  const changes = changesOn(scene.client);
  const count = scene.random.between(1, most);
  for (let i = 0; i < count; i++) await someChange(changes, scene);
}

function someChange(changes: Changes, { random, tables }: Scene): Promise<unknown> {
  const table = random.pick(tables);
  const rows = random.between(1, 4);
  const kind = random.next();
  if (table.key.length === 0 || kind < 0.35) return changes.insert(table, rows, random.between(1, 1_000_000));
  if (kind < 0.75) return changes.update(table, rows, random.next());
  if (kind < 0.88) return changes.rekey(table, rows, random.next());
  return changes.remove(table, rows, random.next());
}

/** COPY writes many rows under one LSN. */
async function copy({ client, random, tables }: Scene): Promise<void> {
  const table = named("simple", tables);
  const count = random.between(5, 200);
  const { rows } = await client.query<{ id: string }>(
    "select nextval('key_seq') as id from generate_series(1, $1::integer)",
    [count],
  );
  const ids = rows.map(({ id }) => id);
  const lines = ids.map((id) => `${id}\t${random.between(0, 1023)}\tcopied\n`);
  await pipeline(Readable.from(lines), client.query(copyFrom("copy simple (id, value, note) from stdin")));
  await client.query(`${ledgerOfInserts(table)} from simple n where id = any($1::bigint[])`, [ids]);
}

async function savepoints(scene: Scene): Promise<void> {
  const { client, random } = scene;
  await someChanges(scene, 2);
  for (let depth = random.between(1, 3); depth > 0; depth--) {
    await client.query("savepoint s");
    await someChanges(scene, 3);
    await client.query(random.chance(0.6) ? "rollback to savepoint s" : "release savepoint s");
  }
  await someChanges(scene, 2);
}

async function sameKeyAgain({ client, random, tables }: Scene): Promise<void> {
  const table = named("simple", tables);
  const removed = await changesOn(client).remove(table, random.between(1, 3), random.next());
  await client.query(
    `with changed as (insert into simple (id, value) select unnest($1::bigint[]), 4 returning *)
     ${ledgerOfInserts(table)} from changed n`,
    [removed],
  );
}

/** Others commit meanwhile, so this one's changes come late in the stream, although they are old in the WAL. */
async function longOpen(scene: Scene): Promise<void> {
  await someChanges(scene, 3);
  await sleep(scene.random.between(1000, 6000));
  await someChanges(scene, 3);
}

async function prepared(scene: Scene): Promise<void> {
  const gid = scene.gid();
  const isCommitted = scene.random.chance(0.7);
  try {
    await inTransaction(scene, () => someChanges(scene, 4), `prepare transaction '${gid}'`);
  } finally {
    // Also where the connection broke: the server may have prepared it before.
    scene.finishPrepared(gid, isCommitted);
  }
}

async function truncate({ client, random, tables }: Scene): Promise<void> {
  const changes = changesOn(client);
  await changes.truncate(named(random.pick(["simple", "composite", "parted", "keyless"]), tables));
  if (random.chance(0.5)) await changes.insert(random.pick(tables), 3, random.between(1, 1_000_000));
}

async function unwatched({ client, random }: Scene): Promise<void> {
  await client.query("insert into unwatched (filler) select repeat('x', 500) from generate_series(1, $1::integer)", [
    random.between(1, 50),
  ]);
}

async function huge({ client, random, tables, hugeRows }: Scene): Promise<void> {
  const changes = changesOn(client);
  const table = named(random.pick(["simple", "keyless", "composite"]), tables);
  if (table.key.length === 0 || random.chance(0.6)) await changes.insert(table, hugeRows, 1);
  else await changes.update(table, hugeRows, 0);
}

function named(name: string, tables: readonly WatchedTable[]): WatchedTable {
  const table = tables.find((candidate) => candidate.name === name);
  if (table === undefined) throw new Error(`there is no table ${name}`);
  return table;
}
