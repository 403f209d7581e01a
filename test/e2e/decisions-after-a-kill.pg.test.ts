import { afterAll, beforeAll, expect, it } from "vitest";
import { seeded } from "../record/seeded.ts";
import { eventually } from "../support/eventually.ts";
import { startSystem, type System } from "../support/system.ts";
import { startCli, type CliProcess } from "../support/walhook-cli.ts";

const KILLS = 4;
const ROWS = 60;
const seed = Math.floor(Math.random() * 2 ** 31);
const random = seeded(seed);

let system: System;
let bridge: CliProcess;
beforeAll(async () => {
  system = await startSystem("decision_kills");
  await system.app("create table orders (id int primary key, status text)");
  await system.webhook("all", "orders", "after_insert, on_update");
  await system.webhook("paid", "orders", "after_insert", { condition: "doc.status = 'Paid'", log_decisions: true });
  await system.webhook("off", "orders", "after_insert", { enabled: false, log_decisions: true });
});
afterAll(async () => {
  bridge.child.kill("SIGKILL");
  await bridge.ended;
  await system.drop();
});

it(`over ${KILLS} kill -9 each change that a webhook does not take is written down once, with its reason (seed ${seed})`, async () => {
  // What is under way holds the cursor back, so that a kill meets decisions above and below it.
  system.receiver.answer(() => ({ status: 200, delayMs: Math.floor(random() * 20) }));
  const start = (): CliProcess =>
    startCli(["run"], { DATABASE_URL: system.db.urlAs(system.roles.bridge), WALHOOK_GRACE_MS: "50" });
  bridge = start();
  let id = 0;
  for (let kill = 0; kill <= KILLS; kill++) {
    for (let n = 0; n < ROWS; n++) {
      const status = [null, "Open", "Paid"][id % 3];
      await system.app("insert into orders values ($1, $2)", [id, status]);
      if (id % 10 === 0) await system.app("update orders set status = 'Void' where id = $1", [id]);
      id++;
    }
    if (kill === KILLS) break;
    const before = system.received("all").length;
    const arrivals = Math.floor(random() * 30);
    await eventually(() => system.received("all").length >= before + arrivals, { withinMs: 20_000 });
    bridge.child.kill("SIGKILL");
    await bridge.ended;
    bridge = start();
  }
  await system.settled(30_000);
  const kept = await system.look(`
    select webhook, docname::int % 3 as kind, docevent, substring(reason from '^(?:its condition is )?([[:alpha:]]+ [[:alpha:]]+|NULL)') as why,
           count(*)::int as n, count(distinct delivery_id)::int as ids
      from walhook.webhook_decision group by 1, 2, 3, 4 order by 1, 2, 3`);
  const each = id / 3;
  const updates = id / 30;
  const row = (webhook: string, kind: number, docevent: string, why: string, n: number) => {
    return { webhook, kind, docevent, why, n, ids: n };
  };
  expect(kept).toEqual([
    ...[0, 1, 2].flatMap((kind) => [
      row("off", kind, "after_insert", "it was", each),
      row("off", kind, "on_update", "it was", updates),
    ]),
    row("paid", 0, "after_insert", "NULL", each),
    row("paid", 0, "on_update", "event not", updates),
    row("paid", 1, "after_insert", "FALSE for", each),
    row("paid", 1, "on_update", "event not", updates),
    row("paid", 2, "on_update", "event not", updates),
  ]);
}, 120_000);
