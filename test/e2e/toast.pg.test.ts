import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startSystem, type System } from "../support/system.ts";

let system: System;
beforeAll(async () => {
  system = await startSystem("toast");
  await system.app(`
    create table plain_doc (id integer primary key, title text, big text);
    create table full_doc (id integer primary key, title text, big text);
    create table asked_doc (id integer primary key, title text, big text);
    create table templated_doc (id integer primary key, title text, big text);
    alter table plain_doc alter big set storage external;
    alter table full_doc alter big set storage external;
    alter table asked_doc alter big set storage external;
    alter table templated_doc alter big set storage external;
    alter table full_doc replica identity full;
  `);
  await system.startBridge();
});
afterAll(() => system.drop());

const BIG = "0123456789abcdef".repeat(2_000);

const dataOf = (webhook: string): Record<string, any>[] =>
  system.received(webhook).map(({ body }) => JSON.parse(body.toString("utf8")).data);

async function writeAndUpdate(table: string): Promise<void> {
  await system.app(`insert into ${table} values (1, 'a', $1)`, [BIG]);
  await system.app(`update ${table} set title = 'b' where id = 1`);
}

describe("a large value that an UPDATE leaves alone", () => {
  it("is listed under unchanged, never faked, at the default identity", async () => {
    await system.webhook("plain", "plain_doc", "after_insert, on_update");
    await writeAndUpdate("plain_doc");
    await system.app("update plain_doc set big = 'small' where id = 1");
    await system.app("update plain_doc set big = null where id = 1");
    await system.settled();
    const [inserted, updated, changed, emptied] = dataOf("plain");
    expect(inserted!["doc"]).toEqual({ id: 1, title: "a", big: BIG });
    expect(inserted).not.toHaveProperty("unchanged");
    expect(updated!["doc"]).toEqual({ id: 1, title: "b" });
    expect(updated!["unchanged"]).toEqual(["big"]);
    expect(changed!["doc"]).toEqual({ id: 1, title: "b", big: "small" });
    expect(changed).not.toHaveProperty("unchanged");
    expect(emptied!["doc"]).toEqual({ id: 1, title: "b", big: null });
  });

  it("is filled in from the row before where the identity is FULL", async () => {
    await system.webhook("full", "full_doc", "on_update, on_change");
    await writeAndUpdate("full_doc");
    await system.app("update full_doc set title = 'b' where id = 1");
    await system.settled();
    const updates = dataOf("full").filter(({ event }) => event === "on_update");
    expect(updates.map(({ doc }) => doc)).toEqual([
      { id: 1, title: "b", big: BIG },
      { id: 1, title: "b", big: BIG },
    ]);
    expect(updates[0]!["old"]).toEqual({ id: 1, title: "a", big: BIG });
    // The INSERT, and the one UPDATE that changed a value: an unchanged large value is no change.
    expect(dataOf("full").filter(({ event }) => event === "on_change")).toMatchObject([{}, { changed: ["title"] }]);
  });

  it("makes a condition that needs it undecidable, with a remedy in the log, and leaves others alone", async () => {
    await system.webhook("needs", "asked_doc", "on_update", { condition: "doc.big like '0%' and doc.title = 'b'" });
    await system.webhook("needs-not", "asked_doc", "on_update", { condition: "doc.title = 'b'" });
    await writeAndUpdate("asked_doc");
    await system.app("update asked_doc set big = $1 where id = 1", [`0${BIG}`]);
    await system.settled();
    expect(dataOf("needs-not").map(({ doc }) => doc)).toEqual([
      { id: 1, title: "b" },
      { id: 1, title: "b", big: `0${BIG}` },
    ]);
    expect(dataOf("needs").map(({ doc }) => doc.big)).toEqual([`0${BIG}`]);
    const log = await system.look(
      `select docname, docevent, outcome, status_code, error from walhook.webhook_request_log
       where webhook = 'needs' order by lsn`,
    );
    expect(log).toMatchObject([
      { docname: "1", docevent: "on_update", outcome: "undecidable", status_code: null },
      { outcome: "delivered" },
    ]);
    expect(log[0]!["error"]).toMatch(/big/);
    expect(log[0]!["error"]).toMatch(/replica identity full/i);
    // Once its owner follows the remedy, the same UPDATE is decided.
    await system.app("alter table asked_doc replica identity full");
    await system.app("update asked_doc set title = 'b' where id = 1");
    await system.settled();
    expect(dataOf("needs").at(-1)!["doc"]).toEqual({ id: 1, title: "b", big: `0${BIG}` });
  });

  it("is not sent as something else by webhook_data or a template", async () => {
    await system.webhook("chosen", "templated_doc", "on_update");
    await system.admin("insert into walhook.webhook_data (webhook, fieldname, key) values ('chosen', 'title', 't')");
    await system.admin("insert into walhook.webhook_data (webhook, fieldname, key) values ('chosen', 'big', 'b')");
    await system.webhook("templated", "templated_doc", "on_update", {
      webhook_json: `{"t": "{{doc.title}}", "b": {{#json}}doc.big{{/json}}}`,
    });
    await writeAndUpdate("templated_doc");
    await system.settled();
    const bodies = [...system.received("chosen"), ...system.received("templated")].map(({ body }) =>
      body.toString("utf8"),
    );
    for (const body of bodies) expect(JSON.parse(body)).not.toMatchObject({ b: null });
    for (const body of bodies) expect(JSON.parse(body)).not.toMatchObject({ b: "" });
    const log = await system.look(
      "select webhook, outcome, error from walhook.webhook_request_log where doctype = 'templated_doc' order by webhook",
    );
    expect(log.map(({ webhook }) => webhook)).toEqual(["chosen", "templated"]);
    for (const { outcome, error } of log) if (outcome !== "delivered") expect(error).toMatch(/big/);
  });
});
