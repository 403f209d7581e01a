import pg from "pg";
import { fileError, type WantedWebhook } from "./read-webhooks.ts";
import { chosenColumns, isSame, storedWebhooks, type Pair, type StoredWebhook, type Value } from "./stored-webhook.ts";

/** Filled by a trigger where a row says nothing: what a file leaves out stays as it is. */
const STAYS = new Set(["cloudevents_source"]);

/** What applying a file changes, as lines for people. */
export interface Applied {
  readonly lines: readonly string[];
  readonly added: number;
  readonly changed: number;
  readonly deleted: number;
  readonly unchanged: number;
}

/**
 * Makes the database's webhooks those of a file, inside of the caller's transaction. Rows that are the same already are
 * not touched, so their author stays.
 * @throws WalhookError `bad_file` with the line of what the database refuses
 */
export async function applyWebhooks(
  client: pg.Client,
  wanted: readonly WantedWebhook[],
  { file, prune }: { readonly file: string; readonly prune: boolean },
): Promise<Applied> {
  // Nobody else changes the configuration between looking and writing.
  await client.query("select pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtext('walhook.apply'))");
  const defaults = await chosenColumns(client);
  const stored = new Map((await storedWebhooks(client, defaults.keys())).map((webhook) => [webhook.name, webhook]));
  const lines: string[] = [];
  const counts = { added: 0, changed: 0, deleted: 0, unchanged: 0 };
  for (const webhook of wanted) {
    const at = webhook.lines["name"]!;
    const step: Step = { key: "webhook_doctype" };
    try {
      const before = stored.get(webhook.name) ?? null;
      const columns = await normalised(client, webhook, defaults, before, step);
      const differences = await change(client, webhook, columns, defaults, before, step);
      if (before === null) counts.added++;
      else if (differences.length > 0) counts.changed++;
      else counts.unchanged++;
      if (before === null || differences.length > 0) {
        lines.push(`${before === null ? "+" : "~"} ${webhook.name}`, ...differences.map((line) => `    ${line}`));
      }
    } catch (error) {
      if (!(error instanceof pg.DatabaseError)) throw error;
      const line = webhook.lines[keyOf(error, webhook, step.key)] ?? at;
      throw fileError(file, line, error.message, error.hint ?? error.detail ?? null, error);
    }
  }
  for (const { name } of prune ? stored.values() : []) {
    if (wanted.some((webhook) => webhook.name === name)) continue;
    await client.query("delete from walhook.webhook where name = $1", [name]);
    lines.push(`- ${name}`);
    counts.deleted++;
  }
  return { lines, ...counts };
}

/** What is being done, for the line of an error. */
interface Step {
  key: string | null;
}

/** The key of a webhook that an error of the database is about, as far as anybody can say. */
function keyOf({ message }: pg.DatabaseError, { columns, lines }: WantedWebhook, step: string | null): string {
  if (step !== null) return step;
  if (/^webhook ".*": condition: /s.test(message)) return "condition";
  const keys = Object.keys(lines).filter((key) => key !== "name");
  const isQuoted = (key: string): boolean =>
    columns[key] !== undefined && message.includes(`"${String(columns[key])}"`);
  return keys.find((key) => message.includes(key)) ?? keys.find(isQuoted) ?? "name";
}

/** Every column as the database would have it. */
async function normalised(
  client: pg.Client,
  { columns }: WantedWebhook,
  defaults: ReadonlyMap<string, Value>,
  before: StoredWebhook | null,
  step: Step,
): Promise<Record<string, Value>> {
  const found = await client.query<{ oid: string }>(
    "select walhook.find_doctype($1)::pg_catalog.oid::pg_catalog.text as oid",
    [columns["webhook_doctype"]],
  );
  const events = String(columns["webhook_docevent"])
    .split(",")
    .map((event) => event.trim().toLowerCase())
    .join(", ");
  const kept = [...STAYS].filter((name) => before !== null && columns[name] === undefined);
  const row = {
    ...Object.fromEntries(defaults),
    ...columns,
    ...Object.fromEntries(kept.map((name) => [name, before?.columns[name]])),
    webhook_doctype: found.rows[0]!.oid,
    webhook_docevent: events,
  };
  step.key = null;
  const { rows } = await client.query<{ row: Record<string, Value> }>(
    "select pg_catalog.to_jsonb(r) as row from pg_catalog.jsonb_populate_record(null::walhook.webhook, $1) r",
    [row],
  );
  return Object.fromEntries([...defaults.keys()].map((name) => [name, rows[0]!.row[name] ?? null]));
}

/** Writes what differs; returns it in words. */
async function change(
  client: pg.Client,
  { name, headers, data, secret }: WantedWebhook,
  columns: Record<string, Value>,
  defaults: ReadonlyMap<string, Value>,
  before: StoredWebhook | null,
  step: Step,
): Promise<readonly string[]> {
  const changed = Object.keys(columns).filter(
    (column) => !isSame(columns[column], before === null ? defaults.get(column) : before.columns[column]),
  );
  const lines = changed.flatMap((column) => [
    ...(before === null ? [] : [`- ${column}: ${JSON.stringify(before.columns[column])}`]),
    `+ ${column}: ${JSON.stringify(columns[column])}`,
  ]);
  const row: Record<string, Value> = Object.fromEntries(changed.map((column) => [column, columns[column] ?? null]));
  // Over another table the condition is made anew: whoever applies the file is who says it.
  if (before !== null && changed.includes("webhook_doctype")) row["condition"] = columns["condition"] ?? null;
  // A secret that the database has is its own: only a reference is changed by another one, and none is taken away.
  if (
    secret !== null &&
    (before === null ||
      before.secrets.length === 0 ||
      !before.secrets.some((known) => known === null || known === secret))
  ) {
    row["webhook_secret"] = secret;
    lines.push(`+ webhook_secret: ${JSON.stringify(secret)}`);
  }
  const names = Object.keys(row);
  const list = names.map((column) => pg.escapeIdentifier(column)).join(", ");
  if (before === null) {
    await client.query(
      `insert into walhook.webhook (name, ${list}) select $2, ${list} from pg_catalog.jsonb_populate_record(null::walhook.webhook, $1)`,
      [row, name],
    );
  } else if (names.length > 0) {
    await client.query(
      `update walhook.webhook w set (${list}) = (select ${list} from pg_catalog.jsonb_populate_record(null::walhook.webhook, $1)) where w.name = $2`,
      [row, name],
    );
  }
  for (const what of ["headers", "data"] as const) {
    step.key = what;
    lines.push(...(await replaceRows(client, name, what, before?.[what] ?? [], what === "headers" ? headers : data)));
  }
  return lines;
}

async function replaceRows(
  client: pg.Client,
  name: string,
  what: "headers" | "data",
  before: readonly Pair[],
  after: readonly Pair[],
): Promise<readonly string[]> {
  if (isSame(before, after)) return [];
  const [table, column] = what === "headers" ? ["webhook_header", "value"] : ["webhook_data", "fieldname"];
  await client.query(`delete from walhook.${table} where webhook = $1`, [name]);
  for (const [key, value] of after) {
    await client.query(`insert into walhook.${table} (webhook, key, ${column}) values ($1, $2, $3)`, [
      name,
      key,
      value,
    ]);
  }
  const shown = (pairs: readonly Pair[]): string[] =>
    pairs.map(([key, value]) => `${what}: ${key}: ${JSON.stringify(value)}`);
  return [
    ...shown(before)
      .filter((line) => !shown(after).includes(line))
      .map((line) => `- ${line}`),
    ...shown(after)
      .filter((line) => !shown(before).includes(line))
      .map((line) => `+ ${line}`),
    ...(isSame([...shown(before)].toSorted(), [...shown(after)].toSorted()) ? [`~ ${what}: in another order`] : []),
  ];
}
