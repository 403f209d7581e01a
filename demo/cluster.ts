import { createHash } from "node:crypto";
import { mkdir, readFile, stat } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { startPostgres, type PostgresServer } from "./postgres.ts";

/** Where a person is likely to look first for the demo's database. */
const PREFERRED_PORT = 54_320;
const STOP_WITHIN_MS = 20_000;

/**
 * Starts the demo's server with its data below `folder`, where it outlives the demo. A server that a killed
 * demo left running is stopped first.
 */
export async function startCluster(folder: string): Promise<PostgresServer> {
  const home = (await isReachable(dirname(folder))) ? folder : insteadOf(folder);
  await mkdir(home, { recursive: true });
  const dataDir = join(home, "data");
  await stopLeftover(dataDir);
  const port = await isFree(PREFERRED_PORT);
  return startPostgres({ dataDir, ...(port ? { port: PREFERRED_PORT } : {}) });
}

/** As root the server runs as another user, who cannot enter a folder below /root. */
async function isReachable(folder: string): Promise<boolean> {
  if (process.getuid?.() !== 0) return true;
  for (let path = folder; ; path = dirname(path)) {
    if (((await stat(path)).mode & 0o001) === 0) return false;
    if (path === dirname(path)) return true;
  }
}

/** A folder that everybody can enter, the same at every start. */
function insteadOf(folder: string): string {
  return join(tmpdir(), `walhook-demo-${createHash("sha256").update(folder).digest("hex").slice(0, 12)}`);
}

async function stopLeftover(dataDir: string): Promise<void> {
  const pidFile = join(dataDir, "postmaster.pid");
  const pid = Number((await readFile(pidFile, "utf8").catch(() => "")).split("\n")[0]);
  if (!(pid > 1) || !isAlive(pid)) return;
  // A fast shutdown: connections are closed, nothing is lost.
  process.kill(pid, "SIGINT");
  const deadline = Date.now() + STOP_WITHIN_MS;
  while (isAlive(pid)) {
    if (Date.now() > deadline) throw new Error(`the server of an earlier demo (process ${pid}) does not stop`);
    await sleep(50);
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}
