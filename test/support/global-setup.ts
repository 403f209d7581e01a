import { mkdtemp, rm, chmod } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { startPostgres, type PostgresServer } from "../../demo/postgres.ts";

declare module "vitest" {
  export interface ProvidedContext {
    readonly postgresPorts: readonly number[];
  }
}

/**
 * One real server for each worker, in the temporary folder; each test file makes a database of its own. Files that
 * run at the same time share no server, because a new slot waits for every transaction that is open on its server,
 * whatever its database.
 * WALHOOK_TEST_NATIVE names another server's binaries (the matrix run), see test/matrix.mjs.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const dir = await mkdtemp(join(tmpdir(), "walhook-test-"));
  await chmod(dir, 0o755);
  const native = process.env["WALHOOK_TEST_NATIVE"];
  const servers: PostgresServer[] = [];
  // One after the other: as root the first may have to copy the binaries.
  for (let worker = 1; worker <= project.vitest.config.maxWorkers; worker++) {
    servers.push(
      await startPostgres({
        dataDir: join(dir, `data${worker}`),
        ...(native === undefined ? {} : { nativeDir: native }),
        settings: ["fsync=off", "full_page_writes=off", "max_prepared_transactions=10"],
      }),
    );
  }
  project.provide(
    "postgresPorts",
    servers.map((server) => server.port),
  );
  return async () => {
    for (const server of servers) await server.stop("immediate");
    await rm(dir, { recursive: true, force: true });
  };
}
