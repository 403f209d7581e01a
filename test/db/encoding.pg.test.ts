import { expect, it } from "vitest";
import { createBridge, WalhookError } from "../../src/bridge.ts";
import { ensureBridgeSlot } from "../../src/slot/create-bridge-slot.ts";
import { createDatabase } from "../support/database.ts";
import { eventually } from "../support/eventually.ts";
import { startReceiver } from "../support/receiver.ts";
import { installWalhook } from "../support/walhook.ts";
import { runCli } from "../support/walhook-cli.ts";

const ENCODED = (encoding: string): string => `encoding '${encoding}' template template0 locale 'C'`;

it("a database whose encoding lacks what a receiver may answer is refused by install, check and run, with what to do", async () => {
  const db = await createDatabase("encoding", ENCODED("WIN1252"));
  const env = { DATABASE_URL: db.url };
  const install = await runCli(["install"], env);
  expect(install).toMatchObject({ code: 3, err: expect.stringContaining("this database is in WIN1252") as string });
  expect(install.err).toContain("encoding 'UTF8' template template0");
  expect(await runCli(["check"], env)).toMatchObject({
    code: 1,
    out: expect.stringContaining(
      "problem  encoding: WIN1252: it cannot store every text that a receiver answers",
    ) as string,
  });
  // Installed by psql.
  const roles = await installWalhook(db);
  await ensureBridgeSlot(db.url);
  const bridge = createBridge({ databaseUrl: db.urlAs(roles.bridge) });
  bridge.done.catch(() => {});
  const error: unknown = await bridge.start().catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(WalhookError);
  expect(error).toMatchObject({ code: "bad_encoding" });
  await db.drop();
  await roles.drop();
});

it("in SQL_ASCII whatever a receiver answers is kept as it came", async () => {
  const db = await createDatabase("ascii", ENCODED("SQL_ASCII"));
  const roles = await installWalhook(db);
  const receiver = await startReceiver();
  receiver.answer({ body: "danke 👍" });
  await ensureBridgeSlot(db.url);
  const bridge = createBridge({ databaseUrl: db.urlAs(roles.bridge) });
  try {
    await bridge.start();
    await db.query("create table orders (id int primary key, note text); grant postgres to walhook_owner");
    await db.query(
      `insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url) values ('w', 'orders', 'after_insert', '${receiver.url}/w')`,
    );
    await db.query("insert into orders values (1, 'ü')");
    const log = await eventually(
      async () => (await db.query("select response_body from walhook.webhook_request_log")).rows[0],
    );
    expect(log).toEqual({ response_body: "danke 👍" });
  } finally {
    await bridge.stop();
    await receiver.close();
    await db.drop();
    await roles.drop();
  }
});
