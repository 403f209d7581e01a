import type pg from "pg";
import { connect, displayUrl } from "../db/connection.ts";
import { ensureBridgeSlot, type EnsuredSlot } from "../slot/create-bridge-slot.ts";
import { requireEncoding } from "../db/encoding.ts";
import { migrate } from "../db/migrate.ts";
import { restorePublications } from "../slot/restore-publications.ts";
import { EXIT_CODES, explain, INSTALL_HINT } from "../errors.ts";
import { formatLsn } from "../replication/lsn.ts";
import { readServerFacts, type ServerFacts } from "./check/server-facts.ts";
import { checkServer } from "./check/check-server.ts";
import type { Command, CommandContext } from "./command.ts";

/** `walhook install`: schema, publications, slot. */
export const install: Command = {
  name: "install",
  summary: "makes or upgrades the schema, the publications and the replication slot",
  description: [
    "Installs Walhook into a database, or upgrades it in place; run again, it changes nothing. It makes the roles " +
      "walhook_* (where it may), the schemas walhook and walhook_condition, two publications, and a replication slot.",
    "From then on the slot retains WAL until `walhook run` has read it.",
    "The schema may also be installed with psql: the numbered files in the package's folder sql/, in their order. " +
      "`walhook run` then makes the slot.",
    "Needs a role that may create schemas and publications in the database and, for the slot, REPLICATION; a " +
      "superuser is simplest. REPLICATION_URL is used where it is given: everything here needs a direct connection.",
  ],
  options: ["databaseUrl", "replicationUrl"],
  switches: [],
  examples: [
    "walhook install",
    "walhook install --database-url postgresql://postgres:secret@localhost:5432/shop",
    "for f in node_modules/walhook/sql/*.sql; do psql -v ON_ERROR_STOP=1 -f $f; done",
  ],
  exitCodes: [],
  run: async (context) => {
    const { replicationUrl } = context.config;
    const client = await connect(replicationUrl, "walhook install");
    try {
      context.print(`database ${displayUrl(replicationUrl)}`);
      const facts = await readServerFacts(client);
      const findings = checkServer(facts, false, false);
      const server = findings.find((finding) => finding.where === "server");
      if (server?.level === "problem") {
        context.print(`${server.what}. ${server.remedy}`);
        return EXIT_CODES.database;
      }
      await requireEncoding(client);
      for (const line of await migrate(client)) {
        // That a role is missing was said once; what it would have been granted is of no interest then.
        if (!line.includes(": skipped grant")) context.print(line);
      }
      if (facts.walLevel !== "logical") return refuseSlot(facts, context);
      for (const name of await restoreBeforeSlot(client)) context.print(`publication ${name} made anew`);
      return report(await ensureBridgeSlot(replicationUrl), facts, context);
    } catch (error) {
      throw explain(error, `installing into ${displayUrl(replicationUrl)}`, INSTALL_HINT);
    } finally {
      await client.end();
    }
  },
};

/** While a slot is on record, a new publication would only hide that changes were missed. */
async function restoreBeforeSlot(client: pg.Client): Promise<readonly string[]> {
  const { rows } = await client.query<{ slot_name: string | null }>("select slot_name from walhook.bridge");
  return rows[0]?.slot_name === null ? restorePublications(client) : [];
}

function refuseSlot({ walLevel }: ServerFacts, { print }: CommandContext): number {
  print(`no replication slot made: wal_level is ${walLevel}, and must be logical`);
  print("  as a superuser: ALTER SYSTEM SET wal_level = logical;");
  print("  then restart PostgreSQL and run `walhook install` again");
  print("  (managed services: rds.logical_replication, cloudsql.logical_decoding, or the server's parameters)");
  return EXIT_CODES.database;
}

function report(slot: EnsuredSlot, { maxSlotWalKeepMb }: ServerFacts, { print }: CommandContext): number {
  if (slot.kind === "present") {
    print(`replication slot ${slot.slotName} is there`);
    print("next: walhook run");
    return 0;
  }
  if (slot.kind === "gap") {
    print(
      `replication slot ${slot.slotName} is gone: changes since then were not seen, and no new slot is made silently`,
    );
    print("next: walhook accept-gap");
    return EXIT_CODES.database;
  }
  for (const name of slot.replaced) print(`replication slot ${name} dropped: nothing referred to it any more`);
  print(
    `replication slot ${slot.slotName} made at ${formatLsn(slot.consistentPoint)}, ${slot.webhooks} webhooks in force`,
  );
  print(
    "the slot retains WAL from now on, " +
      (maxSlotWalKeepMb < 0
        ? "without bound (max_slot_wal_keep_size is -1): keep `walhook run` running, or set a bound"
        : `up to max_slot_wal_keep_size = ${maxSlotWalKeepMb} MB; beyond it the slot is lost`),
  );
  print("next: insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url)");
  print("        values ('new-order', 'orders', 'after_insert', 'https://example.com/hook');");
  print("      walhook run");
  return 0;
}
