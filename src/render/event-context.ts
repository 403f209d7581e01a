import type { DocEvent } from "../events/doc-event.ts";
import { docView, oldView } from "./change-views.ts";
import { eventFacts } from "./event-facts.ts";
import { JsonNumber } from "./json-tree.ts";
import type { TemplateValue } from "./template-value.ts";

let lastEvent: DocEvent | null = null;
let context: ReadonlyMap<string, TemplateValue> = new Map();

/**
 * The outermost context of templates: `doc`, `old` (for a delete the same as `doc`), `event`, `doctype`, `name`,
 * `old_name`, `lsn`, `xid`, `commit_time`, `changed`, `unchanged`, `omitted`.
 */
export function eventContext(event: DocEvent): ReadonlyMap<string, TemplateValue> {
  // Body, URL, headers and further webhooks ask for the same event one after the other.
  if (event !== lastEvent) {
    context = build(event);
    lastEvent = event;
  }
  return context;
}

function build(event: DocEvent): ReadonlyMap<string, TemplateValue> {
  const facts = eventFacts(event);
  const { relation } = event.change;
  return new Map<string, TemplateValue>([
    ["doc", docView(event.change)],
    ["old", oldView(event.change)],
    ["event", event.name],
    ["doctype", relation.doctype],
    ["name", event.docname],
    ["old_name", event.oldDocname],
    ["lsn", facts.lsn],
    ["xid", new JsonNumber(String(facts.xid))],
    ["commit_time", facts.commitTime],
    ["changed", facts.changed],
    ["unchanged", facts.unchanged],
    ["omitted", facts.omitted],
  ]);
}
