import { Rendering } from "./rendering.ts";
import type { Path, Template } from "./template.ts";
import { hasMember, isFalse, jsonOf, listItems, member, printed, type TemplateValue } from "./template-value.ts";

/** How values are written into the text around them. */
export interface Writing {
  /** For `{{name}}`. */
  readonly escape: (text: string) => string;
  /** For `{{#json}}name{{/json}}`; left out: as it is. */
  readonly escapeJson?: (json: string) => string;
  /** Is given what stands there so far, or a part of it, and throws where that is too long. */
  readonly check: (text: string) => void;
}

/** Inside a JSON string: what a template of JSON puts between quotes. */
export const INSIDE_JSON_STRING: Omit<Writing, "check"> = { escape: (text) => JSON.stringify(text).slice(1, -1) };

/** The context stack: innermost first. */
interface Scope {
  readonly value: TemplateValue;
  readonly outer: Scope | null;
  /** Where we are in the innermost list that a section runs over. */
  readonly isFirst?: boolean;
  readonly isLast?: boolean;
}

/**
 * Renders a template in the context of `root`. Throws an `UnknownValueError` where it needs a value that nobody knows, a
 * `TemplateTooLongError` where it takes too many steps, and what `writing` throws where it gets too long.
 *
 * @param rendering of the request that the template is a part of
 */
export function renderTemplate(
  template: Template,
  root: TemplateValue,
  writing: Writing,
  rendering: Rendering = new Rendering(),
): string {
  return render(template, { value: root, outer: null }, writing, rendering);
}

function render(template: Template, scope: Scope, writing: Writing, rendering: Rendering): string {
  let text = "";
  for (const node of template) {
    switch (node.kind) {
      case "text":
        text += node.text;
        break;
      case "value": {
        const value = printed(lookUp(node.path, scope, rendering));
        text += node.isRaw ? value : writing.escape(value);
        break;
      }
      case "json": {
        const json = jsonOf(lookUp(node.path, scope, rendering));
        text += writing.escapeJson === undefined ? json : writing.escapeJson(json);
        break;
      }
      case "section": {
        const value = lookUp(node.path, scope, rendering);
        if (node.isInverted) {
          if (isFalse(value)) text += render(node.body, scope, writing, rendering);
        } else {
          for (const inner of innerScopes(value, scope, rendering)) {
            text += render(node.body, inner, writing, rendering);
            writing.check(text);
          }
        }
        break;
      }
    }
    writing.check(text);
  }
  return text;
}

/** What a section runs in: once an item of a list, once for any other value that is not false. */
function innerScopes(value: TemplateValue, outer: Scope, rendering: Rendering): readonly Scope[] {
  if (isFalse(value)) return [];
  const items = listItems(value);
  if (items === null) return [{ ...outer, value, outer }];
  rendering.take(items.length);
  return items.map((item, index) => ({
    value: item,
    outer,
    isFirst: index === 0,
    isLast: index === items.length - 1,
  }));
}

/**
 * The first part of a dotted name is sought outwards from the innermost context, the rest inside what it names.
 * `-first` and `-last` (as jmustache has them) are true at the ends of the innermost list, for the commas of JSON.
 */
function lookUp({ parts, steps }: Path, scope: Scope, rendering: Rendering): TemplateValue {
  rendering.take(steps);
  const [first, ...rest] = parts;
  if (first === undefined) return scope.value;
  if (first === "-first" && rest.length === 0) return scope.isFirst === true;
  if (first === "-last" && rest.length === 0) return scope.isLast === true;
  for (let at: Scope | null = scope; at !== null; at = at.outer) {
    if (hasMember(at.value, first)) {
      let value = member(at.value, first, rendering);
      for (const name of rest) value = member(value, name, rendering);
      return value;
    }
    rendering.take(1);
  }
  return undefined;
}
