import type { DocEvent } from "../events/doc-event.ts";
import { eventFacts } from "./event-facts.ts";
import { JsonNumber } from "./json-tree.ts";
import { RowView } from "./row-view.ts";
import { type TemplateValue, UnknownRow } from "./template-value.ts";

const contexts = new WeakMap<DocEvent, ReadonlyMap<string, TemplateValue>>();

/**
 * The outermost context of templates: `doc`, `old` (for a delete the same as `doc`), `event`, `doctype`, `name`,
 * `old_name`, `lsn`, `xid`, `commit_time`, `changed`, `unchanged`, `omitted`.
 */
export function eventContext(event: DocEvent): ReadonlyMap<string, TemplateValue> {
  let context = contexts.get(event);
  if (context === undefined) {
    context = build(event);
    contexts.set(event, context);
  }
  return context;
}

function build(event: DocEvent): ReadonlyMap<string, TemplateValue> {
  const facts = eventFacts(event);
  const { relation } = event.change;
  return new Map<string, TemplateValue>([
    ["doc", facts.doc === null ? null : new RowView(relation, facts.doc, false)],
    ["old", oldView(event)],
    ["event", event.name],
    ["doctype", relation.doctype],
    ["name", event.docname],
    ["old_name", event.oldDocname],
    ["lsn", facts.lsn],
    ["xid", new JsonNumber(String(facts.xid))],
    ["commit_time", facts.commitTime],
    ["changed", facts.changed],
    ["unchanged", facts.unchanged],
    ["omitted", relation.omitted],
  ]);
}

function oldView(event: DocEvent): TemplateValue {
  const { old } = eventFacts(event);
  const { relation } = event.change;
  if (old === "none") return null;
  if (old === "unknown") return new UnknownRow(relation.doctype);
  return new RowView(relation, old, true);
}
