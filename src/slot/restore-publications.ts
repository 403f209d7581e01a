import type pg from "pg";
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
 * Makes publications that somebody dropped anew, with the tables that the webhooks need, and takes back what was
 * changed of them. Only where the gap is accepted, or before the first slot: else it would hide that changes were missed.
 * @param client connected as the role that installed Walhook, or a superuser
 * @returns the names of those that were made
 */
export async function restorePublications(client: pg.Client): Promise<readonly string[]> {
  const missing = await missingPublications(client);
  await client.query("select walhook.repair_publications()");
  return missing;
}
