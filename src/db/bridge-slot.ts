import { sql, type Kysely } from "kysely";
import type { ConfigurationTable } from "../decode/chunk.ts";
import { WalhookError } from "../errors.ts";
import type { Database } from "./schema.ts";

/** The slot on record, found to be where the cursor left it. */
export interface BridgeSlot {
  readonly slotName: string;
  readonly systemIdentifier: string;
  readonly databaseOid: number;
}

/** What the database says about the slot on record. */
export interface SlotFacts {
  readonly slotName: string | null;
  readonly recordedSystem: string | null;
  readonly actualSystem: string;
  readonly recordedDatabase: number | null;
  readonly actualDatabase: number;
  readonly exists: boolean;
  readonly walStatus: string | null;
  readonly missingPublications: readonly string[];
}

/** Reads the slot on record and throws where its changes cannot be complete: a gap is never silent. */
export async function readBridgeSlot(db: Kysely<Database>): Promise<BridgeSlot> {
  const { rows } = await sql<SlotFacts>`
    select b.slot_name as "slotName",
           b.system_identifier as "recordedSystem",
           (select c.system_identifier::text from pg_catalog.pg_control_system() c) as "actualSystem",
           b.database_oid::bigint::float8 as "recordedDatabase",
           (select d.oid::bigint::float8 from pg_catalog.pg_database d where d.datname = current_database()) as "actualDatabase",
           s.slot_name is not null as "exists",
           s.wal_status as "walStatus",
           array(
             select p.name from (values ('walhook_insert'), ('walhook_all')) p (name)
             where not exists (select from pg_catalog.pg_publication x where x.pubname = p.name)
           ) as "missingPublications"
    from walhook.bridge b
    left join pg_catalog.pg_replication_slots s on s.slot_name = b.slot_name`.execute(db);
  const facts = rows[0];
  const problem = facts === undefined ? NOT_INSTALLED : slotProblem(facts);
  if (problem !== null) throw problem;
  const { slotName, actualSystem, actualDatabase } = facts!;
  return { slotName: slotName!, systemIdentifier: actualSystem, databaseOid: actualDatabase };
}

const NOT_INSTALLED = new WalhookError("walhook.bridge has no row", {
  code: "not_installed",
  hint: "Run `walhook install`.",
});

/** Why the slot cannot be streamed without a gap; null where it can. */
export function slotProblem(facts: SlotFacts): WalhookError | null {
  if (facts.slotName === null) {
    return new WalhookError("no replication slot has been made yet", {
      code: "no_slot",
      hint: "Run `walhook install`.",
    });
  }
  if (facts.recordedSystem !== null && facts.recordedSystem !== facts.actualSystem) {
    return new WalhookError(
      `this is another cluster (system identifier ${facts.actualSystem}) than the one whose cursor is recorded (${facts.recordedSystem})`,
      { code: "other_system", hint: RECREATE },
    );
  }
  if (facts.recordedDatabase !== null && facts.recordedDatabase !== facts.actualDatabase) {
    return new WalhookError("this database is a copy of the one whose cursor is recorded", {
      code: "other_database",
      hint: RECREATE,
    });
  }
  if (!facts.exists) {
    return new WalhookError(`the replication slot ${facts.slotName} does not exist any more`, {
      code: "slot_missing",
      hint: `Changes since the cursor in walhook.bridge may be gone. ${RECREATE}`,
    });
  }
  if (facts.walStatus === "lost") {
    return new WalhookError(`the replication slot ${facts.slotName} was invalidated: its WAL is gone`, {
      code: "slot_lost",
      hint: `Changes since the cursor in walhook.bridge are gone; raise max_slot_wal_keep_size. ${RECREATE}`,
    });
  }
  if (facts.missingPublications.length > 0) {
    return new WalhookError(`publication ${facts.missingPublications.join(" and ")} does not exist`, {
      code: "publication_missing",
      hint: `Changes since it was dropped are not in the stream. ${RECREATE}`,
    });
  }
  return null;
}

const RECREATE =
  "To accept the gap and begin anew at the present: update walhook.bridge set slot_name = null; then run `walhook install`.";

/** The OIDs of the configuration tables, whose rows in the stream are configuration. */
export async function configurationOids(db: Kysely<Database>): Promise<ReadonlyMap<number, ConfigurationTable>> {
  const { rows } = await sql<{ oid: number; name: ConfigurationTable }>`
    select c.oid::bigint::float8 as oid, c.relname as name
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'walhook' and c.relname in ('webhook', 'webhook_header', 'webhook_data', 'webhook_secret', 'repair')`.execute(
    db,
  );
  return new Map(rows.map(({ oid, name }) => [oid, name]));
}
