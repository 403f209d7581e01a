import { WalhookError } from "../errors.ts";
import type { Queryable } from "./queryable.ts";

export const ENCODING_HINT =
  "Walhook needs a database in UTF8: create one (create database … encoding 'UTF8' template template0), and move the tables by pg_dump.";

/**
 * Whether a database can store whatever a receiver answers, and a column of the log with it. In SQL_ASCII the bytes are stored as
 * they come; any other encoding lacks characters, and the answer that has one would end the bridge at each start again.
 */
export function storesAnyText(encoding: string): boolean {
  return encoding === "UTF8" || encoding === "SQL_ASCII";
}

/** @throws WalhookError `bad_encoding` */
export async function requireEncoding(db: Queryable): Promise<void> {
  const { rows } = await db.query("select current_setting('server_encoding') as encoding");
  const { encoding } = rows[0] as { readonly encoding: string };
  if (storesAnyText(encoding)) return;
  const message = `this database is in ${encoding}, which cannot store every text that a receiver answers`;
  throw new WalhookError(message, { code: "bad_encoding", hint: ENCODING_HINT });
}
