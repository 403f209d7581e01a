import type { Fields } from "./fields.ts";
import { type JsonTree, parseJsonTree } from "./json-tree.ts";
import { JsonText } from "./json-text.ts";
import { printed } from "./template-value.ts";

/**
 * Fields as application/x-www-form-urlencoded (https://url.spec.whatwg.org/#application/x-www-form-urlencoded):
 * texts, numbers and booleans as they are, null as nothing, arrays and objects as JSON.
 */
export function formBody(fields: Fields): string {
  return new URLSearchParams(
    fields.map(([name, json]): [string, string] => [name, printed(new JsonText(json))]),
  ).toString();
}

/** The members of a JSON object as form fields. Throws a `SyntaxError` where the text is not a JSON object. */
export function formOfObject(json: string): string {
  const tree: JsonTree = parseJsonTree(json);
  if (!(tree instanceof Map)) throw new SyntaxError("a form needs a JSON object, and this is another JSON value");
  const members = [...(tree as ReadonlyMap<string, JsonTree>)];
  return new URLSearchParams(members.map(([name, value]): [string, string] => [name, printed(value)])).toString();
}
