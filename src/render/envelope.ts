import type { Relation } from "../decode/relation.ts";
import type { DocEvent } from "../events/doc-event.ts";
import { docJson } from "./doc-json.ts";
import { eventFacts } from "./event-facts.ts";
import { type Fields, jsonBody } from "./fields.ts";
import { jsonString } from "./json-string.ts";

/**
 * The body of a webhook that chooses nothing: `{"type", "timestamp", "data"}` as Standard Webhooks
 * recommends, where `type` is DocType and event, `timestamp` the commit, and `data` has `doctype`, `name`, `event`,
 * `doc` (not for `on_truncate`) and `lsn`, `xid`, `commit_time`; and where they are known and not empty
 * `old_name` (the key changed), `old` and `changed` (updates), `unchanged` and `omitted` (columns that are not in `doc`).
 */
export function envelope(event: DocEvent): string {
  const { commitTime } = eventFacts(event);
  return `{"type":"${envelopeType(event)}","timestamp":"${commitTime}","data":${envelopeData(event)}}`;
}

/** What the envelope has as `data`, for a body that says type and time elsewhere. */
export function envelopeData(event: DocEvent): string {
  return jsonBody(dataFields(event));
}

/** The envelope without nesting, for bodies that are flat: `type` and `timestamp` first, then the members of `data`. */
export function envelopeFields(event: DocEvent): Fields {
  const { commitTime } = eventFacts(event);
  return [["type", `"${envelopeType(event)}"`], ["timestamp", `"${commitTime}"`], ...dataFields(event)];
}

function dataFields(event: DocEvent): Fields {
  const { doc, old, changed, unchanged, omitted, lsn, xid, commitTime } = eventFacts(event);
  const { relation } = event.change;
  const fields: [string, string][] = [
    ["doctype", jsonString(relation.doctype)],
    ["name", event.docname === null ? "null" : jsonString(event.docname)],
  ];
  if (event.oldDocname !== null) fields.push(["old_name", jsonString(event.oldDocname)]);
  fields.push(["event", `"${event.name}"`]);
  if (doc !== null) fields.push(["doc", docJson(relation, doc)]);
  if (old !== null) fields.push(["old", docJson(relation, old)]);
  if (changed !== null) fields.push(["changed", JSON.stringify(changed)]);
  if (unchanged.length > 0) fields.push(["unchanged", JSON.stringify(unchanged)]);
  if (omitted.length > 0) fields.push(["omitted", JSON.stringify(omitted)]);
  fields.push(["lsn", `"${lsn}"`], ["xid", String(xid)], ["commit_time", `"${commitTime}"`]);
  return fields;
}

const types = new WeakMap<Relation, string>();

/** DocType and event: `orders.after_insert`. Standard Webhooks wants types of letters, digits, underscores and full stops. */
export function envelopeType({ change: { relation }, name }: DocEvent): string {
  let type = types.get(relation);
  if (type === undefined) {
    type = relation.doctype.replaceAll(/[^a-zA-Z0-9_.]/g, "_");
    types.set(relation, type);
  }
  return `${type}.${name}`;
}
