import type { DocEvent } from "../events/doc-event.ts";
import type { Webhook } from "../match/webhook.ts";
import { BodyTooLargeError } from "./body-too-large.ts";
import { docView } from "./change-views.ts";
import type { Fields } from "./fields.ts";

/**
 * The values of `webhook_data`, in its order, by key; of equal keys the last counts. A truncate has no
 * document: every value is null. Throws an `UnknownValueError` for a value that the WAL does not carry, a
 * `SyntaxError` for a column that the table does not have (any more), a `BodyTooLargeError` where all are too long.
 */
export function chosenFields(data: Webhook["data"], event: DocEvent, maxBytes: number): Fields {
  const { relation } = event.change;
  const fields = new Map<string, string>();
  const row = docView(event.change);
  let length = 0;
  for (const { fieldname, key } of data) {
    const json = row === null ? "null" : row.json(fieldname);
    if (json === undefined) {
      throw new SyntaxError(`webhook_data: ${relation.doctype} has no column "${fieldname}"`);
    }
    length += json.length - (fields.get(key)?.length ?? 0);
    if (length > maxBytes) throw new BodyTooLargeError(length, maxBytes);
    fields.set(key, json);
  }
  return [...fields];
}
