import { connect, displayUrl } from "../db/connection.ts";
import { EXIT_CODES, explain } from "../errors.ts";
import type { Command } from "./command.ts";

interface HealthRow {
  readonly state: string;
  readonly last_error: string | null;
  readonly remedy: string | null;
  readonly slot_name: string | null;
  readonly is_active: boolean;
}

/**
 * Whether a bridge is at work on the database. The witness is the slot: the server itself says that a
 * process reads it, and notices within wal_sender_timeout when that process hangs. A time stamp in a
 * table would need a write every few seconds, on a database where nothing happens.
 */
const HEALTH = `
  select bridge.state, bridge.last_error, to_jsonb(bridge) ->> 'remedy' as remedy, bridge.slot_name, coalesce(slot.active, false) as is_active
  from walhook.bridge
  left join pg_catalog.pg_replication_slots as slot on slot.slot_name = bridge.slot_name`;

/** `walhook health`: for a container's health check. */
export const health: Command = {
  name: "health",
  summary: "says whether a bridge is at work (for a container's health check)",
  description: [
    "Prints the bridge's state in one line. Exit code 0 where the state is `running` and a process reads the " +
      "replication slot, else 1. Nothing is changed.",
  ],
  options: ["databaseUrl"],
  switches: [],
  examples: ["walhook health", 'HEALTHCHECK CMD ["walhook", "health"]'],
  exitCodes: [
    "0  a bridge is at work",
    "1  none is, or the bridge is not running",
    "2  wrong flag or option",
    "3  Walhook is not installed, or the login is refused",
    "4  the database could not be reached",
  ],
  run: async ({ config, print }) => {
    const client = await connect(config.databaseUrl, "walhook health");
    try {
      const { rows } = await client.query<HealthRow>(HEALTH);
      const row = rows[0];
      const isHealthy = row !== undefined && row.state === "running" && row.is_active;
      print(describe(row));
      return isHealthy ? 0 : EXIT_CODES.problem;
    } catch (error) {
      throw explain(error, `reading walhook.bridge in ${displayUrl(config.databaseUrl)}`, RIGHTS_HINT);
    } finally {
      await client.end();
    }
  },
};

const RIGHTS_HINT = "Run it as the bridge's login, or: GRANT walhook_monitor TO <role>;";

function describe(row: HealthRow | undefined): string {
  if (row === undefined) return "walhook.bridge has no row: run `walhook install`";
  if (row.slot_name === null) return "no replication slot yet: run `walhook install`";
  const reader = row.is_active ? "read" : "not read by anybody";
  const error = [row.last_error, row.state === "gap" ? row.remedy : null].filter((text) => text !== null).join(". ");
  return `${row.state}, slot ${row.slot_name} ${reader}${row.state === "running" || error === "" ? "" : `: ${error}`}`;
}
