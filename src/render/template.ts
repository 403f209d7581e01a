import Mustache from "mustache";

/** A parsed Mustache template. */
export type Template = readonly TemplateNode[];

/** A dotted name. */
export interface Path {
  /** Empty for `.`, the current element. `-first` and `-last` ask where it stands in its list. */
  readonly parts: readonly string[];
  /** Steps that looking it up takes: one, and more where it is very long. */
  readonly steps: number;
}

type TemplateNode =
  | { readonly kind: "text"; readonly text: string }
  /** `{{name}}`, or `{{{name}}}` and `{{&name}}` with `isRaw`. */
  | { readonly kind: "value"; readonly path: Path; readonly isRaw: boolean }
  /** `{{#name}}…{{/name}}`, or `{{^name}}…{{/name}}` with `isInverted`. */
  | { readonly kind: "section"; readonly path: Path; readonly isInverted: boolean; readonly body: Template }
  /** `{{#json}}name{{/json}}`. */
  | { readonly kind: "json"; readonly path: Path };

/** A text that Mustache would have something to do in. */
export function isTemplated(text: string): boolean {
  return text.includes("{{");
}

/**
 * Parses a Mustache template once, for rendering many times. Partials and other delimiters are refused,
 * `{{#json}}` takes one name. Throws a `SyntaxError` that says what and where.
 * https://mustache.github.io/mustache.5.html
 */
export function parseTemplate(text: string): Template {
  let spans: Mustache.TemplateSpans;
  try {
    // A writer of its own: the shared one keeps every template for ever.
    spans = new Mustache.Writer().parse(text) as Mustache.TemplateSpans;
  } catch (error) {
    throw new SyntaxError(message(error, text), { cause: error });
  }
  return nodes(spans, text);
}

function nodes(spans: Mustache.TemplateSpans, text: string): Template {
  const result: TemplateNode[] = [];
  for (const span of spans) {
    const node = toNode(span, text);
    if (node !== null) result.push(node);
  }
  return result;
}

function toNode(span: Mustache.TemplateSpans[number], text: string): TemplateNode | null {
  const [type, name, start] = span;
  switch (type) {
    case "text":
      return { kind: "text", text: name };
    case "name":
      return { kind: "value", path: toPath(name, start, text), isRaw: false };
    case "&":
      return { kind: "value", path: toPath(name, start, text), isRaw: true };
    case "!":
      return null;
    case "#":
    case "^": {
      const body = span[4] as Mustache.TemplateSpans;
      if (name === "json") return toJson(type, body, start, text);
      return { kind: "section", path: toPath(name, start, text), isInverted: type === "^", body: nodes(body, text) };
    }
    case ">":
      throw new SyntaxError(`partials ({{>${name}}}) are not supported, at ${place(text, start)}`);
    case "=":
      throw new SyntaxError(`other delimiters ({{=${name}=}}) are not supported, at ${place(text, start)}`);
  }
}

function toJson(type: "#" | "^", body: Mustache.TemplateSpans, start: number, text: string): TemplateNode {
  const only = body[0];
  if (type === "^" || body.length !== 1 || only === undefined || only[0] !== "text" || only[1].trim() === "") {
    throw new SyntaxError(`{{#json}} takes one name, as in {{#json}}doc.total{{/json}}, at ${place(text, start)}`);
  }
  return { kind: "json", path: toPath(only[1].trim(), start, text) };
}

/** What fits into one step of a rendering. */
const PARTS_A_STEP = 8;
const CHARACTERS_A_STEP = 256;

function toPath(name: string, start: number, text: string): Path {
  if (name === ".") return { parts: [], steps: 1 };
  const parts = name.split(".");
  if (name.startsWith("$") || name.startsWith("<")) {
    throw new SyntaxError(`blocks and parents ({{${name}}}) are not supported, at ${place(text, start)}`);
  }
  if (parts.includes("")) throw new SyntaxError(`"${name}" is not a name, at ${place(text, start)}`);
  const steps = 1 + Math.floor(parts.length / PARTS_A_STEP) + Math.floor(name.length / CHARACTERS_A_STEP);
  return { parts, steps };
}

/** Mustache's own messages end in "at <offset>", which is told as line and column instead. */
function message(error: unknown, text: string): string {
  const original = error instanceof Error ? error.message : String(error);
  const match = /^(.*) at (\d+)$/s.exec(original);
  return match === null ? original : `${match[1]} at ${place(text, Number(match[2]))}`;
}

function place(text: string, offset: number): string {
  const before = text.slice(0, offset).split("\n");
  return `line ${before.length}, column ${(before.at(-1) as string).length + 1}`;
}
