import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
beforeAll(async () => {
  system = await startSystem("maintenance");
});
afterAll(() => system.drop());

const maintenance = async (): Promise<string> =>
  String((await system.look("select maintenance from walhook.bridge"))[0]?.["maintenance"]);

describe("the maintenance of the log", () => {
  it("is told in walhook.bridge, once as long as it is the same", async () => {
    await using first = await system.startBridge();
    await eventually(async () => /^added \d+; dropped 0$/.test(await maintenance()));
    const at = () => system.look("select maintenance_at from walhook.bridge");
    const before = await at();
    await first.stop();
    await using second = await system.startBridge();
    await system.app("create table passed (id int)");
    await system.caughtUp();
    await second.stop();
    expect(await at()).toEqual(before);
  });

  it("that fails stops no delivery, and says why", async () => {
    await system.app("create table orders (id int primary key)");
    await system.webhook("w", "orders", "after_insert");
    await system.look("revoke execute on function walhook.add_log_partitions(integer) from walhook_bridge");
    await using _ = await system.startBridge();
    await eventually(async () =>
      (await maintenance()).includes("failed: error: permission denied for function add_log_partitions"),
    );
    await system.app("insert into orders values (1)");
    await eventually(() => system.received("w").length === 1);
  });
});
