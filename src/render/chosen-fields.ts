import type { DocEvent } from "../events/doc-event.ts";
import type { Webhook } from "../match/webhook.ts";
import { eventFacts } from "./event-facts.ts";
import type { Fields } from "./form.ts";
import { jsonString } from "./json-string.ts";
import { RowView } from "./row-view.ts";

/**
 * The values of `webhook_data`, in its order, by key; of equal keys the last counts. A truncate has no
 * document: every value is null. Throws an `UnknownValueError` for a value that the WAL does not carry, a
 * `SyntaxError` for a column that the table does not have (any more).
 */
export function chosenFields(data: Webhook["data"], event: DocEvent): Fields {
  const { doc } = eventFacts(event);
  const { relation } = event.change;
  const fields = new Map<string, string>();
  const row = doc === null ? null : new RowView(relation, doc, false);
  for (const { fieldname, key } of data) {
    const json = row === null ? "null" : row.json(fieldname);
    if (json === undefined) {
      throw new SyntaxError(`webhook_data: ${relation.doctype} has no column "${fieldname}"`);
    }
    fields.set(key, json);
  }
  return [...fields];
}

/** Fields as a JSON object. */
export function jsonBody(fields: Fields): string {
  return `{${fields.map(([name, json]) => `${jsonString(name)}:${json}`).join(",")}}`;
}
