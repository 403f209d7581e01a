import type { DocEvent } from "../events/doc-event.ts";
import type { Webhook } from "../match/webhook.ts";
import { docView } from "./change-views.ts";
import type { Fields } from "./fields.ts";

/**
 * The values of `webhook_data`, in its order, by key; of equal keys the last counts. A truncate has no
 * document: every value is null. Throws an `UnknownValueError` for a value that the WAL does not carry, a
 * `SyntaxError` for a column that the table does not have (any more).
 */
export function chosenFields(data: Webhook["data"], event: DocEvent): Fields {
  const { relation } = event.change;
  const fields = new Map<string, string>();
  const row = docView(event.change);
  for (const { fieldname, key } of data) {
    const json = row === null ? "null" : row.json(fieldname);
    if (json === undefined) {
      throw new SyntaxError(`webhook_data: ${relation.doctype} has no column "${fieldname}"`);
    }
    fields.set(key, json);
  }
  return [...fields];
}
