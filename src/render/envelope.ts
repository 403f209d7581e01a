import type { DocEvent } from "../events/doc-event.ts";
import { docJson } from "./doc-json.ts";
import { type EventFacts, eventFacts } from "./event-facts.ts";
import { jsonString } from "./json-string.ts";

/**
 * The body of a webhook that chooses nothing: `{"type", "timestamp", "data"}` as Standard Webhooks
 * recommends, where `type` is DocType and event, `timestamp` the commit, and `data` has `doctype`, `name`, `event`,
 * `doc` (not for `on_truncate`) and `lsn`, `xid`, `commit_time`; and where they are known and not empty
 * `old_name` (the key changed), `old` and `changed` (updates), `unchanged` and `omitted` (columns that are not in `doc`).
 */
export function envelope(event: DocEvent): string {
  const facts = eventFacts(event);
  return (
    `{"type":"${envelopeType(event)}","timestamp":"${facts.commitTime}","data":{` +
    `"doctype":${jsonString(event.change.relation.doctype)},"name":${nameJson(event.docname)}` +
    (event.oldDocname === null ? "" : `,"old_name":${jsonString(event.oldDocname)}`) +
    `,"event":"${event.name}"${rowsJson(event, facts)}` +
    `,"lsn":"${facts.lsn}","xid":${facts.xid},"commit_time":"${facts.commitTime}"}}`
  );
}

/** The members of `data` one by one, in their order, as JSON texts: for bodies that are flat. */
export function envelopeFields(event: DocEvent): [name: string, json: string][] {
  const facts = eventFacts(event);
  const { relation } = event.change;
  const fields: [string, string][] = [
    ["type", `"${envelopeType(event)}"`],
    ["timestamp", `"${facts.commitTime}"`],
    ["doctype", jsonString(relation.doctype)],
    ["name", nameJson(event.docname)],
  ];
  if (event.oldDocname !== null) fields.push(["old_name", jsonString(event.oldDocname)]);
  fields.push(["event", `"${event.name}"`]);
  if (facts.doc !== null) fields.push(["doc", docJson(relation, facts.doc)]);
  if (hasOld(event, facts)) fields.push(["old", docJson(relation, facts.old)]);
  if (facts.changed !== null) fields.push(["changed", JSON.stringify(facts.changed)]);
  if (facts.unchanged.length > 0) fields.push(["unchanged", JSON.stringify(facts.unchanged)]);
  if (facts.doc !== null && relation.omitted.length > 0) fields.push(["omitted", JSON.stringify(relation.omitted)]);
  fields.push(["lsn", `"${facts.lsn}"`], ["xid", String(facts.xid)], ["commit_time", `"${facts.commitTime}"`]);
  return fields;
}

function rowsJson(event: DocEvent, facts: EventFacts): string {
  const { relation } = event.change;
  if (facts.doc === null) return "";
  let json = `,"doc":${docJson(relation, facts.doc)}`;
  if (hasOld(event, facts)) json += `,"old":${docJson(relation, facts.old)}`;
  if (facts.changed !== null) json += `,"changed":${JSON.stringify(facts.changed)}`;
  if (facts.unchanged.length > 0) json += `,"unchanged":${JSON.stringify(facts.unchanged)}`;
  if (relation.omitted.length > 0) json += `,"omitted":${JSON.stringify(relation.omitted)}`;
  return json;
}

/** For a delete `doc` is the row before already. */
function hasOld(event: DocEvent, facts: EventFacts): facts is EventFacts & { readonly old: readonly string[] } {
  return event.change.kind === "update" && typeof facts.old === "object";
}

function nameJson(docname: string | null): string {
  return docname === null ? "null" : jsonString(docname);
}

/** Standard Webhooks wants types of letters, digits, underscores and full stops. */
function envelopeType(event: DocEvent): string {
  return `${event.change.relation.doctype.replaceAll(/[^a-zA-Z0-9_.]/g, "_")}.${event.name}`;
}
