import { readdir, readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type pg from "pg";
import { INSTALL_HINT, WalhookError } from "../errors.ts";
import { describeHolder, lockHolders } from "./lock-holders.ts";

/** The numbered SQL files of the package, the same distance from `src/db` and from `dist/db`. */
const SQL_FOLDER = new URL("../../sql/", import.meta.url);

/** One key for everybody who installs in a database; the lock belongs to that database. */
const INSTALL_LOCK = "hashtext('walhook.install')";

/**
 * Whoever waits for a lock on the log keeps all others from it, the bridge among them: so an upgrade behind somebody's open
 * transaction steps back, and tries again.
 */
const LOCK_TIMEOUT_MS = 2_000;
const MAX_TRIES = 5;
const PAUSE_MS = 1_000;
const LOCK_NOT_AVAILABLE = "55P03";
const INSUFFICIENT_PRIVILEGE = "42501";

const FILE_NAME = /^(\d{3})_([a-z0-9_]+)\.sql$/;

/** One numbered file of `sql/`. */
export interface MigrationFile {
  readonly version: number;
  /** Without number and extension: `tables`. */
  readonly name: string;
  readonly url: URL;
}

/**
 * Installs Walhook's schema in the database of `client`, or upgrades it in place.
 *
 * Each file is one transaction of its own: it begins and commits itself, so that psql runs it just the same,
 * and a failing file leaves the ones before it applied. A lock of the session keeps a second installer
 * waiting; it finds nothing left to do. A file that meets somebody's lock gives up after 2 s, so that nobody is kept
 * waiting behind it, and is tried five times.
 * @param client connected as the installing role, outside a transaction
 * @returns what it did, and what the server had to say about it, one sentence each
 * @throws WalhookError `schema_too_new` where the database was made by a later version, `install_failed`
 *   naming the file otherwise
 */
export async function migrate(
  client: pg.Client,
  options: {
    /** Another folder of numbered files; for tests. */
    readonly folder?: URL;
    /** How long a file waits for a lock, in milliseconds. */
    readonly lockTimeoutMs?: number;
  } = {},
): Promise<readonly string[]> {
  const files = await migrationFiles(options.folder ?? SQL_FOLDER);
  const done: string[] = [];
  const heard = (notice: { readonly message?: string | undefined }): void => {
    if (notice.message !== undefined) done.push(notice.message);
  };
  await client.query(`select pg_advisory_lock(${INSTALL_LOCK})`);
  try {
    const applied = await appliedVersions(client);
    const newest = files.at(-1)?.version ?? 0;
    const tooNew = applied.filter((version) => version > newest);
    if (tooNew.length > 0) {
      throw new WalhookError(`the schema is newer than this version of Walhook (it has ${tooNew.join(", ")})`, {
        code: "schema_too_new",
        hint: "Use the version of Walhook that made the schema, or a later one.",
      });
    }
    client.on("notice", heard);
    for (const file of files) {
      if (applied.includes(file.version)) continue;
      await apply(client, file, options.lockTimeoutMs ?? LOCK_TIMEOUT_MS);
      done.push(`applied ${label(file)}`);
    }
    if (files.every(({ version }) => applied.includes(version))) done.push("the schema is up to date");
    // "already exists, skipping" is how the files stay repeatable, and of no interest.
    return done.filter((line) => !/(already exists|does not exist), skipping/.test(line));
  } finally {
    client.off("notice", heard);
    await client.query(`select pg_advisory_unlock(${INSTALL_LOCK})`).catch(() => {});
  }
}

/** The files of a folder in the order in which they are applied. */
export async function migrationFiles(folder: URL = SQL_FOLDER): Promise<readonly MigrationFile[]> {
  const names = (await readdir(fileURLToPath(folder))).toSorted();
  return names.flatMap((file) => {
    const [, version, name] = FILE_NAME.exec(file) ?? [];
    return version === undefined || name === undefined
      ? []
      : [{ version: Number(version), name, url: new URL(file, folder) }];
  });
}

async function apply(client: pg.Client, file: MigrationFile, lockTimeoutMs: number): Promise<void> {
  const text = await readFile(file.url, "utf8");
  try {
    await client.query(`set lock_timeout = ${lockTimeoutMs}`);
    for (let tries = 1; !(await isRun(client, text, tries)); tries++) await sleep(PAUSE_MS);
    // psql users rely on it, so a file that does not record itself is a mistake of ours.
    const versions = await appliedVersions(client);
    if (!versions.includes(file.version)) throw new Error("it does not record itself in walhook.migration");
  } catch (error) {
    await client.query("rollback").catch(() => {});
    const { message, hint } = error as { message: string; hint?: string };
    throw new WalhookError(`installing ${label(file)} failed: ${message}`, {
      code: "install_failed",
      hint: isLocked(error) ? await lockHint(client) : (hint ?? (isDenied(error) ? INSTALL_HINT : null)),
      cause: error,
    });
  } finally {
    await client.query("reset lock_timeout").catch(() => {});
  }
}

/** False: somebody has a lock, and it may be tried again. */
async function isRun(client: pg.Client, text: string, tries: number): Promise<boolean> {
  try {
    await client.query(text);
    return true;
  } catch (error) {
    if (!isLocked(error) || tries >= MAX_TRIES) throw error;
    await client.query("rollback");
    return false;
  }
}

function isLocked(error: unknown): boolean {
  return (error as { code?: string }).code === LOCK_NOT_AVAILABLE;
}

function isDenied(error: unknown): boolean {
  return (error as { code?: string }).code === INSUFFICIENT_PRIVILEGE;
}

async function lockHint(client: pg.Client): Promise<string> {
  const holders = await lockHolders(client).catch(() => []);
  const who = holders.length === 0 ? "others" : `process ${holders.map(describeHolder).join(", ")}`;
  return (
    `A lock that it needs is held by ${who}. Wait until that transaction is over, or end it: ` +
    `select pg_terminate_backend(${holders[0]?.pid ?? "pid"}). Then run \`walhook install\` again: what was applied stays.`
  );
}

async function appliedVersions(client: pg.Client): Promise<readonly number[]> {
  const { rows: found } = await client.query(
    "select from pg_catalog.pg_class where oid = to_regclass('walhook.migration')",
  );
  if (found.length === 0) return [];
  const { rows } = await client.query<{ version: number }>("select version from walhook.migration order by version");
  return rows.map(({ version }) => version);
}

function label({ version, name }: MigrationFile): string {
  return `${String(version).padStart(3, "0")} ${name.replaceAll("_", " ")}`;
}
