import type { Queryable } from "../db/queryable.ts";
import { createCatalog } from "../decode/catalog.ts";
import type { Relation } from "../decode/relation.ts";
import { ReadingFailed } from "./backfill-failure.ts";
import type { BackfillJob } from "./backfill-job.ts";
import { keyOf } from "./backfill-parts.ts";
import type { BackfillStore, StoredBackfill } from "./backfill-store.ts";
import type { Key } from "./progress.ts";
import type { Reading, ReadTable } from "./read-rows.ts";

/** What may take long on a large table is given up after that. */
const WITHIN = "10s";

/**
 * A backfill as it is stored, ready to run. Where it has not begun, it is found out how far it goes, and how many rows there are.
 * @param resumes by which call of walhook.resume_backfill it runs
 */
export async function openBackfill(
  store: BackfillStore,
  db: Queryable,
  { id, stored, resumes }: { readonly id: string; readonly stored: StoredBackfill; readonly resumes: number },
): Promise<BackfillJob> {
  const { webhook_id: webhookId, wanted, oid, schema, name, columns, last_key, pending, rows_done, rows_sent } = stored;
  const table = { schema, name, columns };
  const relation = await describeTable(db, oid, table);
  let until = stored.until_key;
  if (!stored.has_begun) {
    const last = (await inTime(store.read(id, "last", {}, WITHIN))) ?? (await store.read(id, "top", {}));
    until = last.key ?? (last.rows[0] === undefined ? null : keyOf(relation, last.rows[0]));
    const counted = await inTime(store.read(id, "count", {}, WITHIN));
    await store.begin(id, until, counted?.count ?? stored.estimate, resumes);
  }
  const progress = {
    backfillId: id,
    lastKey: last_key,
    pending: pending ?? [],
    rowsDone: Number(rows_done ?? 0),
    rowsSent: Number(rows_sent ?? 0),
  };
  const nothing = { newer: null, lowToken: null, chunk: null };
  return { id, webhookId, table, relation, wanted, resumes, progress, until, ...nothing };
}

/** Where the condition first holds, so that what comes before is not read row by row; null where that takes long, too. */
export async function firstKey(store: BackfillStore, id: string): Promise<Key | null> {
  const reading = await inTime(store.read(id, "first", {}, WITHIN));
  return reading?.key ?? null;
}

/** The table of a backfill as the stream would describe it. */
export function describeTable(db: Queryable, oid: number, { schema, name, columns }: ReadTable): Promise<Relation> {
  return createCatalog(db).describeRelation({
    tag: "relation",
    oid,
    schema,
    name,
    identity: "f",
    columns: columns.map((column) => ({ ...column, isKey: false, typeModifier: -1 })),
  });
}

/** Null where the server gave it up. */
async function inTime(reading: Promise<Reading>): Promise<Reading | null> {
  try {
    return await reading;
  } catch (error) {
    if (error instanceof ReadingFailed && (error.cause as { code?: string }).code === "57014") return null;
    throw error;
  }
}
