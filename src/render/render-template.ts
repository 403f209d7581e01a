import type { Path, Template } from "./template.ts";
import { hasMember, jsonOf, member, printed, sectionItems, type TemplateValue } from "./template-value.ts";

/** How values are written into the text around them. */
export interface Writing {
  /** For `{{name}}`. */
  readonly escape: (text: string) => string;
  /** For `{{#json}}name{{/json}}`; left out: as it is. */
  readonly escapeJson?: (json: string) => string;
}

/** Inside a JSON string: what a template of JSON puts between quotes. */
export const INSIDE_JSON_STRING: Writing = { escape: (text) => JSON.stringify(text).slice(1, -1) };

/** The context stack: innermost first. */
interface Scope {
  readonly value: TemplateValue;
  readonly outer: Scope | null;
}

/**
 * Renders a template in the context of `root`. Throws an `UnknownValueError` where it needs a value that
 * nobody knows.
 */
export function renderTemplate(template: Template, root: TemplateValue, writing: Writing): string {
  return render(template, { value: root, outer: null }, writing);
}

function render(template: Template, scope: Scope, writing: Writing): string {
  let text = "";
  for (const node of template) {
    switch (node.kind) {
      case "text":
        text += node.text;
        break;
      case "value": {
        const value = printed(lookUp(node.path, scope));
        text += node.isRaw ? value : writing.escape(value);
        break;
      }
      case "json": {
        const json = jsonOf(lookUp(node.path, scope));
        text += writing.escapeJson === undefined ? json : writing.escapeJson(json);
        break;
      }
      case "section": {
        const items = sectionItems(lookUp(node.path, scope));
        if (node.isInverted) {
          if (items.length === 0) text += render(node.body, scope, writing);
        } else {
          for (const item of items) text += render(node.body, { value: item, outer: scope }, writing);
        }
        break;
      }
    }
  }
  return text;
}

/** The first part of a dotted name is sought outwards from the innermost context, the rest inside what it names. */
function lookUp(path: Path, scope: Scope): TemplateValue {
  const [first, ...rest] = path;
  if (first === undefined) return scope.value;
  for (let at: Scope | null = scope; at !== null; at = at.outer) {
    if (hasMember(at.value, first)) return rest.reduce(member, member(at.value, first));
  }
  return undefined;
}
