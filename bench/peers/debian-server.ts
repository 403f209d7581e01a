import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const DEBIAN = "/usr/lib/postgresql";

/**
 * Folder with the `bin/` of an installed PostgreSQL, which peers' extensions are built for: `PEERS_POSTGRES`, or else
 * Debian's newest; null where there is none.
 */
export async function installedServer(): Promise<string | null> {
  const given = process.env["PEERS_POSTGRES"];
  if (given !== undefined) return given;
  const versions = existsSync(DEBIAN) ? await readdir(DEBIAN) : [];
  const folders = versions.toSorted((a, b) => Number(b) - Number(a)).map((version) => join(DEBIAN, version));
  return folders.find((folder) => existsSync(join(folder, "bin", "postgres"))) ?? null;
}

/** Where the installed server lacks a file, what to do about it; null where it has it. */
export async function lacks(folder: "sharedir" | "pkglibdir", file: string, remedy: string): Promise<string | null> {
  const server = await installedServer();
  if (server === null) return `no PostgreSQL in ${DEBIAN}, and PEERS_POSTGRES is not set; ${remedy}`;
  const { stdout } = await run(join(server, "bin", "pg_config"), [`--${folder}`]);
  const path = join(stdout.trim(), file);
  return existsSync(path) ? null : `${path} is not there; ${remedy}`;
}

/** Whether the installed server has a setting: a minor release may bring one, and an older one does not start with it. */
export async function knowsSetting(name: string): Promise<boolean> {
  const server = await installedServer();
  if (server === null) return false;
  const { stdout } = await run(join(server, "bin", "postgres"), ["--describe-config"]);
  return stdout.split("\n").some((line) => line.startsWith(`${name}\t`));
}
