import { mkdtemp, rm, chmod } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { startPostgres } from "../../demo/postgres.ts";

declare module "vitest" {
  export interface ProvidedContext {
    readonly postgresPort: number;
  }
}

/**
 * One real server for the whole run, in the temporary folder; each test file makes a database of its own.
 * WALHOOK_TEST_NATIVE names another server's binaries (the matrix run), see demo/matrix.ts.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const dir = await mkdtemp(join(tmpdir(), "walhook-test-"));
  await chmod(dir, 0o755);
  const native = process.env["WALHOOK_TEST_NATIVE"];
  const server = await startPostgres({
    dataDir: join(dir, "data"),
    ...(native === undefined ? {} : { nativeDir: native }),
    settings: ["fsync=off", "full_page_writes=off", "max_prepared_transactions=10"],
  });
  project.provide("postgresPort", server.port);
  return async () => {
    await server.stop("immediate");
    await rm(dir, { recursive: true, force: true });
  };
}
