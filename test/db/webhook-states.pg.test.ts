import { expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startSystem } from "../support/system.ts";

it("a webhook that is held is shown as held, whatever else was said of it and is over", async () => {
  await using system = await startSystem("webhook_states");
  await system.app("create table orders (id int primary key)");
  await system.webhook("w", "orders", "after_insert");
  await system.startBridge({ denyAddresses: "127.0.0.0/8" });
  await system.app("insert into orders values (1)");
  const shown = async () => (await system.look("select state, updated_at from walhook.webhook_state"))[0];
  const isShown = (state: string) => eventually(async () => (await shown())?.["state"] === state);
  await isShown("blocked");
  await system.app(`revoke select on orders from "${system.roles.admin}"`);
  await isShown("held");
  // Any change of the webhook ends what was said of its address.
  const before = (await shown())!["updated_at"] as Date;
  await system.admin("select walhook.pause('w')");
  await eventually(async () => ((await shown())!["updated_at"] as Date) > before);
  expect((await shown())!["state"]).toBe("held");
  await system.app(`grant select on orders to "${system.roles.admin}"`);
  await isShown("ok");
});
