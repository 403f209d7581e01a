import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createDatabase } from "../support/database.ts";
import { eventually } from "../support/eventually.ts";
import { startSystem } from "../support/system.ts";
import { pageUrl } from "./generated.ts";

/** In the package, where its own name means itself. */
const program = fileURLToPath(new URL(`../../build/library-${process.pid}.mjs`, import.meta.url));

beforeAll(async () => {
  const [, block] = /```js\n([\s\S]*?)```/.exec(await readFile(pageUrl("library.md"), "utf8"))!;
  await mkdir(new URL("../../build/", import.meta.url), { recursive: true });
  await writeFile(program, block!);
});
afterAll(() => rm(program, { force: true }));

function start(databaseUrl: string): { child: ChildProcess; said: () => string; code: Promise<number> } {
  const child = spawn(process.execPath, [program], {
    env: { PATH: process.env["PATH"], DATABASE_URL: databaseUrl },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (part: Buffer) => (said += part.toString()));
  return { child, said: () => said, code: once(child, "close").then(([code]) => code as number) };
}

describe("docs/library.md", () => {
  it("has a program that delivers, says what happens, and stops when it is told to", async () => {
    await using system = await startSystem("library");
    await system.app("create table orders (id int primary key)");
    await system.webhook("w", "orders", "after_insert");
    const { child, said, code } = start(system.db.urlAs(system.roles.bridge));
    try {
      await eventually(() => said().includes("running"));
      await system.app("insert into orders values (42)");
      await eventually(() => said().includes("42 delivered 200"));
      child.kill("SIGTERM");
      expect(await code).toBe(0);
      expect(said()).toMatch(/^starting \nrunning \n42 delivered 200\nstopped \n$/);
    } finally {
      child.kill("SIGKILL");
    }
  });

  it("says what is wrong and what to do, and ends with 1, where somebody has to act", async () => {
    await using db = await createDatabase("library_empty");
    const { said, code } = start(db.url);
    expect(await code).toBe(1);
    expect(said()).toContain("not_installed: Walhook is not installed in this database");
    expect(said()).toContain("Run `walhook install` with the same DATABASE_URL.");
  });
});
