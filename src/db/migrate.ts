import { readdir, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type pg from "pg";
import { WalhookError } from "../errors.ts";

/** The numbered SQL files of the package, the same distance from `src/db` and from `dist/db`. */
const SQL_FOLDER = new URL("../../sql/", import.meta.url);

/** One key for everybody who installs in a database; the lock belongs to that database. */
const INSTALL_LOCK = "hashtext('walhook.install')";

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
 * waiting; it finds nothing left to do.
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
      await apply(client, file);
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

async function apply(client: pg.Client, file: MigrationFile): Promise<void> {
  const text = await readFile(file.url, "utf8");
  try {
    await client.query(text);
    // psql users rely on it, so a file that does not record itself is a mistake of ours.
    const versions = await appliedVersions(client);
    if (!versions.includes(file.version)) throw new Error("it does not record itself in walhook.migration");
  } catch (error) {
    await client.query("rollback").catch(() => {});
    const { message, hint } = error as { message: string; hint?: string };
    throw new WalhookError(`installing ${label(file)} failed: ${message}`, {
      code: "install_failed",
      hint: hint ?? null,
      cause: error,
    });
  }
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
