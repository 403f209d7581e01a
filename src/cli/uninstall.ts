import pg from "pg";
import { connect, displayUrl } from "../db/connection.ts";
import { explain, INSTALLER_HINT, WalhookError } from "../errors.ts";
import type { Command, CommandContext } from "./command.ts";

const DROP_LOG = "drop-log";

/** `walhook uninstall`: everything that `install` made, except the roles. */
export const uninstall: Command = {
  name: "uninstall",
  summary: "drops slot, publications and schemas, and restores replica identities",
  description: [
    "Takes Walhook out of the database: the replication slot, both publications and the schemas walhook and " +
      "walhook_condition. Tables get back the replica identity that they had before their first webhook.",
    "Refuses while a bridge is at work, and while the request log or the queue has rows, unless --drop-log is given. " +
      "The roles walhook_* stay, since other databases of the server may use them.",
    "Run it as the role that installed Walhook, or as a superuser.",
  ],
  options: ["databaseUrl", "replicationUrl"],
  switches: [{ flag: DROP_LOG, help: "also drop a request log and a queue that have rows: they are gone for good" }],
  examples: ["walhook uninstall", "walhook uninstall --drop-log --database-url postgresql://postgres@localhost/shop"],
  exitCodes: [],
  run: async (context) => {
    const { replicationUrl } = context.config;
    const client = await connect(replicationUrl, "walhook uninstall");
    try {
      return await removeAll(client, context);
    } catch (error) {
      throw explain(error, `uninstalling from ${displayUrl(replicationUrl)}`, INSTALLER_HINT);
    } finally {
      await client.end();
    }
  },
};

async function removeAll(client: pg.Client, { switches, print }: CommandContext): Promise<number> {
  if (!(await exists(client, "select to_regclass('walhook.bridge') is not null as found"))) {
    print("walhook is not installed in this database; nothing to do");
    return 0;
  }
  const slot = await findSlot(client);
  if (slot?.isActive === true) {
    throw new WalhookError(`a bridge reads the replication slot ${slot.name} (process ${slot.pid} of the server)`, {
      code: "slot_in_use",
      hint: "Stop `walhook run` first.",
    });
  }
  await client.query("begin");
  try {
    // Nobody writes the log between the look and the drop.
    await client.query("lock table walhook.bridge in access exclusive mode");
    if (!switches.has(DROP_LOG)) await refuseRows(client);
    // First the publications: a table published for updates must not lose its identity.
    await client.query("drop publication if exists walhook_insert, walhook_all");
    const { rows } = await client.query<{ restored: number }>(
      "select walhook.restore_replica_identities() as restored",
    );
    await client.query("drop schema if exists walhook_condition cascade");
    await client.query("drop schema walhook cascade");
    // Dropping a slot cannot be rolled back, so it comes last, when everything else has gone well.
    if (slot !== null) await client.query("select pg_drop_replication_slot($1)", [slot.name]);
    await client.query("commit");
    print(`replica identities restored: ${rows[0]?.restored ?? 0}`);
  } catch (error) {
    await client.query("rollback").catch(() => {});
    throw error;
  }
  print("publications walhook_insert and walhook_all dropped");
  print("schemas walhook and walhook_condition dropped");
  print(slot === null ? "no replication slot to drop" : `replication slot ${slot.name} dropped`);
  const roles = await client.query<{ rolname: string }>(
    "select rolname from pg_catalog.pg_roles where rolname ^@ 'walhook_' order by rolname",
  );
  if (roles.rows.length > 0) {
    const names = roles.rows.map((row) => row.rolname).join(", ");
    print(`roles left, other databases may use them: ${names} (drop owned by …; drop role …)`);
  }
  return 0;
}

async function findSlot(client: pg.Client): Promise<{ name: string; isActive: boolean; pid: number | null } | null> {
  const { rows } = await client.query<{ slot_name: string; active: boolean; active_pid: number | null }>(
    `select slot.slot_name, slot.active, slot.active_pid
     from walhook.bridge join pg_catalog.pg_replication_slots as slot on slot.slot_name = bridge.slot_name`,
  );
  const row = rows[0];
  return row === undefined ? null : { name: row.slot_name, isActive: row.active, pid: row.active_pid };
}

async function refuseRows(client: pg.Client): Promise<void> {
  for (const table of ["webhook_request_log", "webhook_queue"]) {
    if (await exists(client, `select exists (select from walhook.${pg.escapeIdentifier(table)}) as found`)) {
      throw new WalhookError(`walhook.${table} has rows`, {
        code: "log_has_rows",
        hint:
          table === "webhook_queue"
            ? "These deliveries have not ended. Let `walhook run` finish them, or drop them with --drop-log."
            : // COPY takes no partitioned table by its name.
              "Keep a copy with psql (\\copy (select * from walhook.webhook_request_log) to 'log.csv' csv header), then give --drop-log.",
      });
    }
  }
}

async function exists(client: pg.Client, sql: string): Promise<boolean> {
  const { rows } = await client.query<{ found: boolean }>(sql);
  return rows[0]?.found === true;
}
