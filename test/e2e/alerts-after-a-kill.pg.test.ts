import { afterAll, beforeAll, expect, it } from "vitest";
import { seeded } from "../record/seeded.ts";
import { eventually } from "../support/eventually.ts";
import { startSystem, type System } from "../support/system.ts";
import { startCli, type CliProcess } from "../support/walhook-cli.ts";

const KILLS = 6;
const seed = Math.floor(Math.random() * 2 ** 31);
const random = seeded(seed);

let system: System;
let bridge: CliProcess;
beforeAll(async () => {
  system = await startSystem("alert_kills");
  await system.app("create table orders (id int primary key)");
  await system.admin("select walhook.add_alert_webhook($1)", [`${system.receiver.url}/walhook-alerts`]);
  await system.webhook("w", "orders", "after_insert", { retry_schedule: "{100 ms, 100 ms, 100 ms}" });
});
afterAll(async () => {
  bridge.child.kill("SIGKILL");
  await bridge.ended;
  await system.drop();
});

interface AlertRow {
  readonly type: string;
  readonly state: string;
  readonly previous: string;
}
const alertRows = async (): Promise<readonly AlertRow[]> =>
  (await system.look("select type, state, previous from walhook.alert order by id")) as unknown as AlertRow[];
const countOf = (alerts: readonly AlertRow[], type: string): number => alerts.filter((row) => row.type === type).length;

it(`over ${KILLS} kill -9 in the middle of failures and recoveries every change of health makes one alert, which arrives under one id (seed ${seed})`, async () => {
  let isDown = false;
  system.receiver.answer(({ path }) => ({ status: isDown && path === "/w" ? 500 : 200 }));
  const url = system.db.urlAs(system.roles.bridge);
  bridge = startCli(["run"], { DATABASE_URL: url, WALHOOK_GRACE_MS: "50" });
  let id = 0;
  for (let kill = 0; kill < KILLS; kill++) {
    isDown = !isDown;
    const before = system.received("w").length;
    await system.app("insert into orders select n from generate_series($1::int, $1 + 19) n", [id]);
    id += 20;
    // Somewhere before, at or after the moment at which the breaker opens, or closes.
    const attempts = 1 + Math.floor(random() * 12);
    await eventually(() => system.received("w").length >= before + attempts, { withinMs: 20_000 });
    bridge.child.kill("SIGKILL");
    await bridge.ended;
    bridge = startCli(["run"], { DATABASE_URL: url, WALHOOK_GRACE_MS: "50" });
    const wanted = isDown ? "opened" : "ok";
    await eventually(async () => (await alertRows()).at(-1)?.state === wanted, { withinMs: 20_000 });
  }
  const rows = await alertRows();
  rows.forEach(({ previous, state }, index) => {
    expect(previous, `before alert ${index}`).toBe(rows[index - 1]?.state ?? "ok");
    expect(state).not.toBe(previous);
  });
  expect(countOf(rows, "webhook.opened")).toBe(KILLS / 2);
  expect(countOf(rows, "webhook.recovered")).toBe(KILLS / 2);
  const bodies = new Map<string, Set<string>>();
  await eventually(() => {
    for (const { headers, body } of system.received("walhook-alerts")) {
      const key = headers["webhook-id"] as string;
      bodies.set(key, (bodies.get(key) ?? new Set()).add(body.toString()));
    }
    return bodies.size >= rows.length;
  });
  expect(bodies.size).toBe(rows.length);
  for (const seen of bodies.values()) expect(seen.size).toBe(1);
}, 120_000);
