import { readdir } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { expect, it } from "vitest";
import { startCli } from "../support/walhook-cli.ts";

it.runIf(process.platform === "linux")(
  "the command line has threads for names, unless it is told how many",
  async () => {
    // Takes the connection and says nothing, so that the command stays.
    const silent = createServer((socket) => void socket.on("error", () => {}));
    await new Promise<void>((resolve) => silent.listen(0, resolve));
    const databaseUrl = `postgres://walhook@localhost:${(silent.address() as AddressInfo).port}/walhook`;
    const threadsWith = async (env: Readonly<Record<string, string>>): Promise<number> => {
      const connected = new Promise((resolve) => silent.once("connection", resolve));
      const { child, ended } = startCli(["run"], { DATABASE_URL: databaseUrl, ...env });
      try {
        await connected;
        return (await readdir(`/proc/${child.pid}/task`)).length;
      } finally {
        child.kill("SIGKILL");
        await ended;
      }
    };
    const few = await threadsWith({ UV_THREADPOOL_SIZE: "4" });
    expect(await threadsWith({})).toBe(few + 60);
    silent.close();
  },
);
