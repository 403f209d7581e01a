import type { ColumnTexts, WebhookDefinition } from "../db/schema.ts";
import type { ConfigurationChange } from "../decode/chunk.ts";
import type { ConfigurationTable } from "../decode/configuration-tables.ts";

/** Tables whose rows make up a webhook; those of the others ask for something. */
export type DefiningTable = Exclude<ConfigurationTable, "repair" | "backfill_request" | "backfill_watermark">;

const NOTHING: WebhookDefinition = { webhook: {}, headers: [], data: [] };

/** Applies one changed row to the definitions, by webhook number; returns the numbers of the webhooks it touches. */
export function applyRow(
  definitions: Map<number, WebhookDefinition>,
  table: DefiningTable,
  change: ConfigurationChange,
): readonly number[] {
  const { kind, row } = change;
  const id = Number(table === "webhook" ? row["id"] : row["webhook_id"]);
  const before = definitions.get(id) ?? NOTHING;
  switch (table) {
    case "webhook":
      if (kind === "delete") definitions.delete(id);
      else definitions.set(id, { ...before, webhook: row });
      return [id];
    case "webhook_secret":
      // WAL of an earlier version, when a webhook had one secret; the upgrade then gave that one its number.
      if (row["id"] == null) {
        definitions.set(id, { ...before, secret: kind === "delete" ? null : (row["secret"] ?? null) });
        return [id];
      }
      if (before.secret != null) definitions.set(id, { ...before, secret: null });
      return applyChildRow(definitions, "secrets", change, id);
    case "webhook_header":
      return applyChildRow(definitions, "headers", change, id);
    case "webhook_data":
      return applyChildRow(definitions, "data", change, id);
    case "paused":
      definitions.set(id, { ...before, isPaused: kind !== "delete" });
      return [id];
    default:
      return table satisfies never;
  }
}

function applyChildRow(
  definitions: Map<number, WebhookDefinition>,
  list: "headers" | "data" | "secrets",
  { kind, row }: ConfigurationChange,
  id: number,
): readonly number[] {
  const isRow = (child: ColumnTexts): boolean => child["id"] === row["id"];
  const touched = new Set([id]);
  // An UPDATE can move a row to another webhook, so it is taken out wherever it was.
  for (const [owner, definition] of kind === "update" ? definitions : [[id, definitions.get(id) ?? NOTHING] as const]) {
    const children = definition[list] ?? [];
    if (!children.some(isRow)) continue;
    definitions.set(owner, { ...definition, [list]: children.filter((child) => !isRow(child)) });
    touched.add(owner);
  }
  if (kind === "delete") return [id];
  const current = definitions.get(id) ?? NOTHING;
  const children = [...(current[list] ?? []), row].toSorted((a, b) => Number(a["id"]) - Number(b["id"]));
  definitions.set(id, { ...current, [list]: children });
  return [...touched];
}
