import { sql, type Kysely } from "kysely";
import type { Database } from "../db/schema.ts";

/** Tables whose rows are configuration, not documents. */
export const CONFIGURATION_TABLES = [
  "webhook",
  "webhook_header",
  "webhook_data",
  "webhook_secret",
  "paused",
  "repair",
  "backfill_request",
  "backfill_watermark",
] as const;

export type ConfigurationTable = (typeof CONFIGURATION_TABLES)[number];

/** The OIDs of the configuration tables, by which the stream names them. */
export async function configurationOids(db: Kysely<Database>): Promise<ReadonlyMap<number, ConfigurationTable>> {
  const { rows } = await sql<{ oid: number; name: ConfigurationTable }>`
    select c.oid::bigint::float8 as oid, c.relname as name
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'walhook' and c.relname = any (${CONFIGURATION_TABLES}::text[])`.execute(db);
  return new Map(rows.map(({ oid, name }) => [oid, name]));
}
