import { readFile } from "node:fs/promises";
import type pg from "pg";
import { migrationFiles } from "./migrate.ts";
import { PUBLICATIONS } from "./publications.ts";

/** Those of Walhook's publications that do not exist. */
export async function missingPublications(client: pg.Client): Promise<readonly string[]> {
  const { rows } = await client.query<{ pubname: string }>(
    "select pubname::text from pg_catalog.pg_publication where pubname = any ($1)",
    [PUBLICATIONS],
  );
  return PUBLICATIONS.filter((name) => !rows.some((row) => row.pubname === name));
}

/**
 * Makes publications that somebody dropped anew, with the tables that the webhooks need. Only before a new slot: an
 * older one cannot see them, since what it reads was written before.
 * @param client connected as the role that installed Walhook, or a superuser
 * @returns the names of those that were made
 */
export async function restorePublications(client: pg.Client): Promise<readonly string[]> {
  const missing = await missingPublications(client);
  if (missing.length === 0) return missing;
  const tables = (await migrationFiles()).find((file) => file.name === "tables");
  if (tables === undefined) throw new Error("the package has no file sql/*_tables.sql");
  // Every file may be run again, and this one makes the publications where they are not there.
  await client.query(await readFile(tables.url, "utf8"));
  await client.query(
    `select walhook.publish_doctype(webhook.doctype_oid, bool_or(webhook.allow_replica_identity_full))
     from walhook.webhook join pg_catalog.pg_class on pg_class.oid = webhook.doctype_oid
     group by webhook.doctype_oid`,
  );
  return missing;
}
