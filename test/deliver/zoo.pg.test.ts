import { expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startSystem } from "../support/system.ts";
import { animalNamed } from "../support/zoo/zoo.ts";

const ANIMALS = [
  "resets the connection before it answers",
  "never answers",
  "answers without end",
  "sends headers without end",
  "sends 103 (Early Hints) without end",
  "sends two answers to one request",
  "packs 100 MB into a small answer (content-encoding: gzip)",
  "redirects to the metadata service of a cloud",
  "sends fewer bytes than its content-length, and closes",
  "answers with bytes that are no text",
].map(animalNamed);

it("each receiver that misbehaves has its outcome and class in the log, and holds up none that behaves", async () => {
  await using system = await startSystem("zoo");
  await system.app("create table orders (id int primary key)");
  const dens = await Promise.all(ANIMALS.map(({ open }) => open()));
  for (const [index, { url }] of dens.entries()) {
    await system.webhook(`animal ${index}`, "orders", "after_insert", { request_url: url, timeout: "500 ms" });
  }
  await system.webhook("good", "orders", "after_insert");
  await system.startBridge({ retryScheduleMs: [60_000] });
  await system.app("insert into orders select n from generate_series(1, 3) n");
  await eventually(() => system.received("good").length === 3);
  await eventually(async () => (await rows()).length === 3 * ANIMALS.length);
  const expected = ANIMALS.flatMap(({ errorClass }, index) =>
    Array.from({ length: 3 }, () => ({
      webhook: `animal ${index}`,
      outcome: errorClass === "" ? "delivered" : "retry",
      error_class: errorClass === "" ? null : errorClass,
    })),
  );
  expect(await rows()).toEqual(expected);
  expect(
    await system.look("select distinct response_body from walhook.webhook_request_log where webhook = 'animal 9'"),
  ).toEqual([{ response_body: "\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\n" }]);
  for (const { close } of dens) close();

  function rows(): Promise<readonly Record<string, unknown>[]> {
    return system.look(
      "select webhook, outcome, error_class from walhook.webhook_request_log where webhook <> 'good' order by webhook",
    );
  }
});
