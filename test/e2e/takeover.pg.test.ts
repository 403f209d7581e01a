import { from as copyFrom } from "pg-copy-streams";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { cuttableProxy } from "../replication/cuttable-proxy.ts";
import { eventually } from "../support/eventually.ts";
import { startSystem, type System } from "../support/system.ts";
import { startCli, type CliProcess } from "../support/walhook-cli.ts";

// Each test starts several processes.
vi.setConfig({ testTimeout: 90_000 });

const WAL_SENDER_TIMEOUT_MS = 2_000;
/** Who waits asks once a second; the rest is opening a session. */
const SECONDS_MS = 5_000;

let system: System;
let processes: CliProcess[];

beforeEach(async () => {
  system = await startSystem("takeover");
  processes = [];
  await system.look(`alter role "${system.roles.bridge}" set wal_sender_timeout = '${WAL_SENDER_TIMEOUT_MS}ms'`);
  await system.app("create table orders (id bigint primary key)");
  await system.webhook("order", "orders", "after_insert");
});
afterEach(async () => {
  for (const { child } of processes) child.kill("SIGKILL");
  await Promise.allSettled(processes.map(({ ended }) => ended));
  await system.drop();
});

function startBridge(env: Readonly<Record<string, string>> = {}): CliProcess {
  const url = system.db.urlAs(system.roles.bridge);
  const bridge = startCli(["run", "--log-level", "debug"], { DATABASE_URL: url, ...env });
  processes.push(bridge);
  return bridge;
}

/** One at work, and one that has waited so long that it does not ask more often than it ever will. */
async function startPair(): Promise<readonly [CliProcess, CliProcess]> {
  const working = startBridge();
  await working.line(/info {2}running/);
  const waiting = startBridge();
  await eventually(() => attempts(waiting) >= 6);
  return [working, waiting];
}

function attempts({ lines }: CliProcess): number {
  return lines.filter((line) => /waiting code=slot_in_use/.test(line)).length;
}

async function insertOrders(from: number, to: number): Promise<void> {
  for (let id = from; id <= to; id++) await system.app("insert into orders values ($1)", [id]);
}

async function row(): Promise<Readonly<Record<string, unknown>>> {
  const [found] = await system.look("select state, epoch, last_error, updated_at, version from walhook.bridge");
  return found ?? {};
}

/** Each order has exactly one log row that says delivered, and has arrived with one id only. */
async function expectOneStory(orders: number): Promise<void> {
  await system.settled();
  const log = await system.look(
    `select count(*)::int as rows, count(distinct docname)::int as orders, count(distinct delivery_id)::int as ids
     from walhook.webhook_request_log where outcome = 'delivered'`,
  );
  expect(log).toEqual([{ rows: orders, orders, ids: orders }]);
  const ids = new Set(system.received("order").map(({ headers }) => headers["webhook-id"]));
  expect(ids.size).toBe(orders);
}

test("the second of two bridges leaves the first one's row alone, and takes over within seconds when it is killed", async () => {
  const [working, waiting] = await startPair();
  await insertOrders(1, 20);
  await eventually(() => system.received("order").length === 20);
  await system.caughtUp();
  const before = await row();
  const asked = attempts(waiting);
  await eventually(() => attempts(waiting) >= asked + 2);
  expect(await row()).toEqual(before);
  expect(before).toMatchObject({ state: "running", last_error: null });

  working.child.kill("SIGKILL");
  const killedAt = performance.now();
  await insertOrders(21, 40);
  await eventually(() => system.received("order").length >= 40);
  const tookMs = Math.round(performance.now() - killedAt);
  process.stdout.write(`${tookMs} ms after the kill all 20 changes since then have arrived\n`);
  expect(tookMs).toBeLessThan(SECONDS_MS);
  await expectOneStory(40);
  const after = await row();
  expect(after["state"]).toBe("running");
  expect(Number(after["epoch"])).toBe(Number(before["epoch"]) + 1);
});

test("a waiting bridge that is stopped says nothing of itself in the row of the one at work", async () => {
  const [, waiting] = await startPair();
  const before = await row();
  waiting.child.kill("SIGTERM");
  expect(await waiting.ended).toMatchObject({ code: 0 });
  expect(await row()).toEqual(before);
});

test("a frozen bridge is replaced within wal_sender_timeout; when it wakes up it is fenced, and ends with its own exit code", async () => {
  const [frozen, other] = await startPair();
  await insertOrders(1, 10);
  await system.settled();
  const before = await row();

  frozen.child.kill("SIGSTOP");
  const frozenAt = performance.now();
  await insertOrders(11, 20);
  await eventually(() => system.received("order").length >= 20);
  const tookMs = Math.round(performance.now() - frozenAt);
  process.stdout.write(
    `${tookMs} ms after the freeze all changes have arrived; wal_sender_timeout is ${WAL_SENDER_TIMEOUT_MS} ms\n`,
  );
  expect(tookMs).toBeLessThan(WAL_SENDER_TIMEOUT_MS + SECONDS_MS);

  frozen.child.kill("SIGCONT");
  const ended = await frozen.ended;
  expect(ended).toMatchObject({ code: 6, err: expect.stringContaining("another bridge has taken over") });
  await insertOrders(21, 30);
  await expectOneStory(30);
  const after = await row();
  expect(after).toMatchObject({ state: "running", last_error: null });
  expect(Number(after["epoch"])).toBe(Number(before["epoch"]) + 1);
  expect(other.child.exitCode).toBeNull();
});

test("frozen amid its deliveries, it is fenced as well, and the log tells one story", async () => {
  const [frozen] = await startPair();
  let last = 0;
  let isOver = false;
  const writing = (async () => {
    while (!isOver) {
      await insertOrders(last + 1, (last += 5));
      await system.app("select pg_sleep(0.02)");
    }
  })();
  try {
    await eventually(() => system.received("order").length >= 100);
    frozen.child.kill("SIGSTOP");
    const received = system.received("order").length;
    await eventually(() => system.received("order").length > received + 100, { withinMs: 25_000 });
    frozen.child.kill("SIGCONT");
    expect(await frozen.ended).toMatchObject({ code: 6 });
  } finally {
    isOver = true;
    await writing;
  }
  await expectOneStory(last);
});

test("a bridge that is cut off from the slot, but not from the tables, is fenced before it can log what it sent", async () => {
  const proxy = await cuttableProxy(system.db.urlAs(system.roles.bridge));
  try {
    const cutOff = startBridge({ REPLICATION_URL: proxy.url });
    await cutOff.line(/info {2}running/);
    const other = startBridge();
    await eventually(() => attempts(other) >= 6);
    await insertOrders(1, 5);
    await system.settled();
    // Answered when the other one has taken over.
    let answered = 0;
    system.receiver.answer(() => ({ delayMs: answered++ === 0 ? WAL_SENDER_TIMEOUT_MS + 1_600 : 0 }));
    await insertOrders(6, 6);
    await eventually(() => answered === 1);
    proxy.fallSilent();
    expect(await cutOff.ended).toMatchObject({
      code: 6,
      err: expect.stringContaining("another bridge has taken over"),
    });
    await insertOrders(7, 10);
    await expectOneStory(10);
    expect(other.child.exitCode).toBeNull();
  } finally {
    await proxy.close();
  }
});

test.each(["between two statements", "amid its COPY"])(
  "a bridge that froze in a checkpoint, %s, and so holds the row, keeps nobody from taking over",
  async (when) => {
    const client = await system.db.connect(system.roles.bridge);
    await client.query("set application_name = 'walhook checkpoint'");
    await client.query("begin");
    await client.query("select epoch from walhook.bridge for update");
    // Ended together with its connection.
    if (when === "amid its COPY") client.query(copyFrom("copy walhook.webhook_queue from stdin")).on("error", () => {});
    const bridge = startBridge();
    await bridge.line(/info {2}running/);
    await insertOrders(1, 3);
    await expectOneStory(3);
  },
);

test("a bridge whose sessions end as soon as they begin asks less and less often", async () => {
  const bridge = await system.startBridge();
  const runningAt: number[] = [];
  bridge.activity.subscribe((activity) => {
    if (activity.kind === "state" && activity.state === "running") runningAt.push(performance.now());
  });
  const pauses: number[] = [];
  for (let n = 1; n <= 6; n++) {
    const endedAt = performance.now();
    await system.look(
      `select pg_terminate_backend(s.active_pid)
       from pg_replication_slots s join walhook.bridge b on b.slot_name = s.slot_name where s.active`,
    );
    await eventually(() => runningAt.length >= n);
    pauses.push(runningAt.at(-1)! - endedAt);
  }
  // 100 ms doubled five times, less half of it by chance.
  expect(pauses[5]).toBeGreaterThan(1_500);
});
