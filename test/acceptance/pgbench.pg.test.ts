import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Webhook } from "standardwebhooks";
import { eventually } from "../support/eventually.ts";
import type { ReceivedRequest } from "../support/receiver.ts";
import { startSystem, type System } from "../support/system.ts";

const SECONDS = Number(process.env["WALHOOK_PGBENCH_SECONDS"] ?? 4);
const KILLS = Number(process.env["WALHOOK_PGBENCH_KILLS"] ?? 3);
const SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const HAS_PGBENCH = spawnSync("pgbench", ["--version"]).status === 0;

/** pgbench's own tables and its own script, unchanged: nothing of it knows of Walhook. */
describe.skipIf(!HAS_PGBENCH).each([
  ["undisturbed", 0],
  [`killed ${KILLS} times`, KILLS],
])("pgbench (TPC-B, 4 clients) with the bridge %s", (_, kills) => {
  let system: System;
  let bridge: ChildProcess;
  beforeAll(async () => {
    system = await startSystem("pgbench");
    await pgbench(system, ["-i", "-s", "1", "-q"]);
    const more = { enable_security: true, webhook_secret: SECRET };
    await system.webhook("accounts", "pgbench_accounts", "on_update", more);
    await system.webhook("history", "pgbench_history", "after_insert", more);
    bridge = startBridge(system);
  });
  afterAll(async () => {
    bridge.kill("SIGKILL");
    await system.drop();
  });

  it(
    "every committed change arrives with a valid signature and stands in the log as delivered exactly once",
    async () => {
      const load = pgbench(system, ["-n", "-c", "4", "-j", "2", "-T", String(SECONDS)]);
      for (let kill = 0; kill < kills; kill++) {
        const before = system.receiver.requests.length;
        await eventually(() => system.receiver.requests.length > before + 100, { withinMs: 60_000 });
        bridge.kill("SIGKILL");
        bridge = startBridge(system);
      }
      await load;
      await system.settled(300_000);
      const [{ count }] = (await system.look("select count(*)::int as count from pgbench_history")) as [
        { count: number },
      ];
      const logged = await system.look(
        `select webhook, outcome, count(*)::int as rows, count(distinct delivery_id)::int as deliveries
         from walhook.webhook_request_log where outcome = 'delivered' group by 1, 2 order by 1`,
      );
      for (const name of ["accounts", "history"]) {
        const requests = system.received(name);
        const ids = new Set(requests.map(({ headers }) => headers["webhook-id"]));
        expect(ids.size, `deliveries of ${name}`).toBe(count);
        expect(
          requests.filter((request) => !isSigned(request)),
          "bad signatures",
        ).toEqual([]);
        expect(bodiesDiffer(requests), "an id with two bodies").toEqual([]);
        if (kills === 0) expect(requests.length, "duplicates").toBe(count);
      }
      expect(logged).toEqual([
        { webhook: "accounts", outcome: "delivered", rows: count, deliveries: count },
        { webhook: "history", outcome: "delivered", rows: count, deliveries: count },
      ]);
      const total = system.receiver.requests.length;
      process.stderr.write(
        `pgbench ${SECONDS} s, ${kills} kills: ${count} transactions, ${total - 2 * count} duplicates\n`,
      );
    },
    (SECONDS + 480) * 1000,
  );
});

function isSigned(request: ReceivedRequest): boolean {
  try {
    new Webhook(SECRET).verify(request.body.toString(), request.headers);
    return true;
  } catch {
    return false;
  }
}

function bodiesDiffer(requests: readonly ReceivedRequest[]): readonly string[] {
  const bodies = new Map<string, string>();
  const differing: string[] = [];
  for (const { headers, body } of requests) {
    const id = headers["webhook-id"] ?? "";
    const known = bodies.get(id);
    if (known !== undefined && known !== body.toString()) differing.push(id);
    bodies.set(id, body.toString());
  }
  return differing;
}

function startBridge(system: System): ChildProcess {
  return spawn(process.execPath, ["dist/cli/walhook.cjs", "run"], {
    env: { ...process.env, DATABASE_URL: system.db.urlAs(system.roles.bridge) },
    stdio: ["ignore", "ignore", "inherit"],
  });
}

function pgbench(system: System, args: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const url = system.db.urlAs(system.roles.app);
    const child = spawn("pgbench", [...args, url], { stdio: ["ignore", "ignore", "pipe"] });
    let errors = "";
    child.stderr.on("data", (text: Buffer) => (errors += text.toString()));
    child.once("error", reject);
    child.once("exit", (code) => (code === 0 ? resolve() : reject(new Error(`pgbench ${args.join(" ")}: ${errors}`))));
  });
}
