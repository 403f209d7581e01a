import { pipeline } from "node:stream/promises";
import { from as copyFrom } from "pg-copy-streams";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startSystem, type System } from "../support/system.ts";
import { eventually } from "../support/eventually.ts";

/** What an application does, over and over, with an id of its own each time. Each statement has to succeed. */
const STATEMENTS: readonly ((n: number) => string)[] = [
  (n) => `insert into plain values (${n}, 'a')`,
  (n) => `insert into plain values (${n}, 'b') on conflict (id) do update set v = excluded.v`,
  (n) => `insert into plain values (${n}, 'c') on conflict do nothing`,
  (n) => `update plain set v = 'd' where id = ${n}`,
  (n) => `update plain set id = ${n} + 1000000000 where id = ${n}`,
  (n) => `delete from plain where id = ${n} + 1000000000`,
  (n) => `insert into keyless values (${n}, 'a')`,
  (n) => `update keyless set v = 'b' where id = ${n}`,
  (n) => `delete from keyless where id = ${n}`,
  (n) => `insert into "Sales Order" values ('${n}', ${n}, 0)`,
  (n) => `update "Sales Order" set docstatus = 1 where "Order No" = '${n}'`,
  (n) => `update "Sales Order" set docstatus = 2 where "Order No" = '${n}'`,
  (n) => `delete from "Sales Order" where "Order No" = '${n}'`,
  (n) => `insert into part values (${n}, 1, 'a')`,
  (n) => `update part set k = 2 where id = ${n}`,
  (n) => `update part set v = 'b' where id = ${n}`,
  (n) => `delete from part where id = ${n}`,
  (n) => `insert into part_keyless values (${n}, 1)`,
  (n) => `update part_keyless set k = 2 where id = ${n}`,
  (n) => `delete from part_keyless where id = ${n}`,
  (n) => `insert into nothing_identity values (${n}, 'a')`,
  (n) => `update nothing_identity set v = 'b' where id = ${n}`,
  (n) => `delete from nothing_identity where id = ${n}`,
  (n) => `begin; insert into plain values (${n}, 'x'); savepoint s; update plain set v = 'y' where id = ${n};
          rollback to s; delete from plain where id = ${n}; commit`,
  () => `truncate scratch`,
  () => `insert into scratch select n, 'x' from generate_series(1, 50) n`,
];

const WEBHOOKS: readonly (readonly [name: string, table: string, events: string])[] = [
  ["plain-insert", "plain", "after_insert"],
  ["plain-all", "plain", "after_insert, on_update, on_change, on_trash, on_truncate"],
  ["keyless-insert", "keyless", "after_insert"],
  ["keyless-all", "keyless", "on_update, on_trash"],
  ["quoted", `"Sales Order"`, "on_submit, on_cancel, on_update, on_trash"],
  ["part", "part", "after_insert, on_update, on_change, on_trash"],
  ["part-keyless", "part_keyless", "after_insert"],
  ["nothing-insert", "nothing_identity", "after_insert"],
  ["nothing-all", "nothing_identity", "on_update, on_change"],
  ["scratch", "scratch", "after_insert, on_truncate"],
];

let system: System;
beforeAll(async () => {
  system = await startSystem("application");
  await system.app(`
    create table plain (id bigint primary key, v text);
    create table keyless (id bigint, v text);
    create table "Sales Order" ("Order No" text primary key, "Total" numeric, docstatus smallint);
    create table part (id bigint, k integer, v text, primary key (id, k)) partition by list (k);
    create table part_1 partition of part for values in (1);
    create table part_2 partition of part for values in (2);
    create table part_keyless (id bigint, k integer) partition by list (k);
    create table part_keyless_1 partition of part_keyless for values in (1);
    create table part_keyless_2 partition of part_keyless for values in (2);
    create table nothing_identity (id bigint primary key, v text);
    alter table nothing_identity replica identity nothing;
    create table scratch (id integer, v text);
  `);
});
afterAll(() => system.drop());

/** Two sessions that run everything, again and again, and remember what went wrong. */
class Application {
  readonly failures: string[] = [];
  rounds = 0;
  #isOver = false;
  readonly #sessions: Promise<void>[];

  constructor(first: number) {
    this.#sessions = [0, 1].map((session) => this.#work(first + session * 10_000_000));
  }

  async stop(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#sessions);
  }

  async #work(first: number): Promise<void> {
    const client = await system.db.connect(system.roles.app);
    for (let n = first; !this.#isOver; n++) {
      for (const statement of STATEMENTS) {
        const text = statement(n);
        await client
          .query(text)
          .catch((error: Error & { detail?: string }) =>
            this.failures.push(`${text}: ${error.message} ${error.detail}`),
          );
      }
      await pipeline([`${n}\tcopied\n`], client.query(copyFrom("copy plain from stdin"))).catch((error: Error) =>
        this.failures.push(`copy: ${error.message}`),
      );
      await client.query(`delete from plain where id = ${n}`);
      this.rounds++;
    }
  }
}

/** A DBA tries until the lock is to be had; each try leaves the application alone. */
const configure = (work: () => Promise<unknown>): Promise<unknown> =>
  eventually(() =>
    work().then(
      () => true,
      (error: { code?: string }) => {
        if (error.code === "55P03" || error.code === "40P01") throw error;
        return { error };
      },
    ),
  ).then((result) => {
    if (typeof result === "object") throw result.error;
  });

describe("no statement of the application fails", () => {
  it.each(["down", "up"])(
    "before, while and after webhooks are configured and deleted, with the bridge %s",
    async (bridge) => {
      const running = bridge === "up" ? await system.startBridge() : null;
      const application = new Application(bridge === "up" ? 1_000_000_000_000 : 1);
      try {
        await eventually(() => application.rounds >= 2);
        for (const [name, table, events] of WEBHOOKS) {
          await configure(() => system.webhook(name, table, events));
          const rounds = application.rounds;
          await eventually(() => application.rounds > rounds + 1);
        }
        await system.app(
          `create table if not exists part_3_${bridge} partition of part for values in (${bridge === "up" ? 3 : 4})`,
        );
        await system.app(
          `create table part_keyless_${bridge} partition of part_keyless for values in (${bridge === "up" ? 3 : 4})`,
        );
        const key = bridge === "up" ? 3 : 4;
        await system.app(
          `insert into part values (-1, ${key}, 'a'); update part set v = 'b' where id = -1; delete from part where id = -1`,
        );
        await system.app(
          `insert into part_keyless values (-1, ${key}); update part_keyless set id = -2 where id = -1; delete from part_keyless where id = -2`,
        );
        await configure(() => system.admin("update walhook.webhook set enabled = not enabled"));
        for (const [name] of WEBHOOKS) {
          const rounds = application.rounds;
          await configure(() => system.admin("delete from walhook.webhook where name = $1", [name]));
          await eventually(() => application.rounds > rounds);
        }
        const rounds = application.rounds;
        await eventually(() => application.rounds > rounds + 4);
      } finally {
        await application.stop();
        await running?.stop();
      }
      expect(application.failures).toEqual([]);
    },
  );
});
