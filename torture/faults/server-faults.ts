import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import type { Fault, Scenery } from "./fault.ts";
import { END_WALSENDER } from "./process-faults.ts";

/** What happens to the server and in it. */
export const SERVER_FAULTS: readonly Fault[] = [
  {
    kind: "walsender terminated",
    copies: 2,
    inject: async ({ world }) => {
      await world.asSuperuser((client) => client.query(END_WALSENDER));
    },
  },
  {
    kind: "all backends of the bridges terminated",
    copies: 2,
    inject: async ({ world }) => {
      await world.asSuperuser((client) => client.query(END_BACKENDS));
    },
  },
  { kind: "server restarted", copies: 1, inject: (scenery) => restart(scenery, "fast") },
  { kind: "server crashed", copies: 1, inject: (scenery) => restart(scenery, "immediate") },
  {
    kind: "log, queue or bridge table locked",
    copies: 2,
    inject: async ({ world, random }) => {
      const table = random.pick(["webhook_request_log", "webhook_queue", "bridge"]);
      await world.asSuperuser(async (client) => {
        await client.query(`begin; lock table walhook.${table} in access exclusive mode`);
        await sleep(random.between(1000, 5000));
        await client.query("commit");
      });
    },
  },
  { kind: "connections exhausted", copies: 1, inject: exhaustConnections },
];

const END_BACKENDS = "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'bridge'";

async function restart({ world, random }: Scenery, mode: "fast" | "immediate"): Promise<void> {
  await world.exclusively(async () => {
    await world.server.stop(mode).catch(() => world.server.stop("immediate"));
    await sleep(random.between(0, 1000));
    await world.server.start();
  });
}

/** Takes every connection that is not kept for superusers, and the bridges' own away from them. */
async function exhaustConnections({ world, random }: Scenery): Promise<void> {
  const taken: pg.Client[] = [];
  const takeAll = async (): Promise<void> => {
    // Ends with the server's refusal.
    for (;;) taken.push(await world.connect("app"));
  };
  try {
    await takeAll().catch(() => {});
    await world.asSuperuser((client) => client.query(END_BACKENDS));
    await takeAll().catch(() => {});
    await sleep(random.between(1000, 4000));
  } finally {
    await Promise.all(taken.map((client) => client.end().catch(() => {})));
  }
}
