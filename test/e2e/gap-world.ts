import { expect } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startSystem, type System } from "../support/system.ts";
import { runCli, startCli, type CliProcess, type CliResult } from "../support/walhook-cli.ts";

export const GAP_EXIT_CODE = 5;

type Row = Readonly<Record<string, any>>;

/** A system with orders and invoices that are watched, and bridges as processes. */
export interface GapWorld extends System {
  /** Starts a bridge. */
  run(): CliProcess;
  /** Starts a bridge and waits until it has delivered an order of this number. */
  runAndDeliver(order: number): Promise<CliProcess>;
  /** The same, and stops it in order. */
  runAndStop(order: number): Promise<void>;
  /** Runs a command as superuser. */
  cli(...args: string[]): Promise<CliResult>;
  bridgeRow(): Promise<Row>;
  /** The documents that a webhook has delivered. */
  delivered(webhook: string): readonly string[];
  /** The bridge ends with the gap's exit code, and its row has kind, range and remedy. */
  expectGap(kind: string, ended?: Promise<CliResult>): Promise<Row>;
  /** Accepts it: it is on record, and the bridge goes on, with the webhooks as they are. */
  expectAccepted(row: Row, nextOrder: number): Promise<void>;
}

export async function startGapWorld(): Promise<GapWorld> {
  const system = await startSystem("gaps");
  await system.app("create table orders (id bigint primary key); create table invoices (id bigint primary key)");
  await system.webhook("order", "orders", "after_insert, on_trash");
  await system.webhook("invoice", "invoices", "after_insert");
  const bridges: CliProcess[] = [];

  const world: GapWorld = {
    ...system,
    run: () => {
      const bridge = startCli(["run"], { DATABASE_URL: system.db.urlAs(system.roles.bridge) });
      bridges.push(bridge);
      return bridge;
    },
    runAndDeliver: async (order) => {
      const bridge = world.run();
      await bridge.line(/info {2}running/);
      await system.app("insert into orders values ($1)", [order]);
      await eventually(() => world.delivered("order").includes(String(order)));
      await system.caughtUp();
      return bridge;
    },
    runAndStop: async (order) => {
      const bridge = await world.runAndDeliver(order);
      bridge.child.kill("SIGTERM");
      expect(await bridge.ended).toMatchObject({ code: 0 });
    },
    cli: (...args) => runCli(args, { DATABASE_URL: system.db.url }),
    bridgeRow: async () => {
      const [row] = await system.look(
        `select state, slot_name, flush_lsn::text, stopped_lsn::text, last_error, remedy, gap_kind, gap_from_lsn::text,
                gap_to_lsn::text, gap_needs_slot, gap_detected_at, gap_from_lsn <= gap_to_lsn as is_range
         from walhook.bridge`,
      );
      return row ?? {};
    },
    delivered: (webhook) => system.received(webhook).map(({ body }) => JSON.parse(body.toString()).data.name as string),
    expectGap: async (kind, ended = world.run().ended) => {
      const result = await ended;
      expect(result.err).toContain(`code=${kind}`);
      expect(result.err).toContain("walhook accept-gap");
      expect(result.code).toBe(GAP_EXIT_CODE);
      const row = await world.bridgeRow();
      expect(row).toMatchObject({
        state: "gap",
        gap_kind: kind,
        gap_detected_at: expect.any(Date),
        gap_from_lsn: expect.stringMatching(/^[0-9A-F]+\/[0-9A-F]+$/),
        remedy: expect.stringContaining("walhook accept-gap"),
      });
      return row;
    },
    expectAccepted: async (row, nextOrder) => {
      const accepted = await world.cli("accept-gap", "--yes", "--reason", "a test");
      expect(accepted).toMatchObject({ code: 0, err: "", out: expect.stringContaining("on record as walhook.gap 1") });
      const now = await world.bridgeRow();
      expect(now).toMatchObject({
        gap_kind: null,
        gap_from_lsn: null,
        gap_to_lsn: null,
        last_error: null,
        remedy: null,
      });
      expect(now["slot_name"] !== row["slot_name"]).toBe(row["gap_needs_slot"]);
      const gaps = await system.look(
        `select kind, slot_name, from_lsn::text, from_lsn <= to_lsn as is_range, detected_at, error, new_slot_name,
                accepted_by::text, reason from walhook.gap`,
      );
      expect(gaps).toEqual([
        {
          kind: row["gap_kind"],
          slot_name: row["slot_name"],
          from_lsn: row["gap_from_lsn"],
          is_range: true,
          detected_at: row["gap_detected_at"],
          error: row["last_error"],
          new_slot_name: row["gap_needs_slot"] ? now["slot_name"] : null,
          accepted_by: "postgres",
          reason: "a test",
        },
      ]);
      const bridge = await world.runAndDeliver(nextOrder);
      await system.app("delete from orders where id = $1", [nextOrder]);
      const isTwice = () => world.delivered("order").filter((id) => id === String(nextOrder)).length === 2;
      await eventually(isTwice);
      expect(bridge.child.exitCode).toBeNull();
    },
    drop: async () => {
      for (const { child } of bridges) child.kill("SIGKILL");
      await Promise.allSettled(bridges.map(({ ended }) => ended));
      await system.drop();
    },
  };
  return world;
}
