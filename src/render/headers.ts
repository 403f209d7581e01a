import { renderTemplate, type Writing } from "./render-template.ts";
import type { Rendering } from "./rendering.ts";
import { isTemplated, parseTemplate, type Template } from "./template.ts";
import type { TemplateValue } from "./template-value.ts";
import { checkCharacters, checkGrowing } from "./text-bound.ts";

/** A header whose value is rendered. */
export interface TemplatedHeader {
  readonly key: string;
  readonly template: Template;
}

/** The templated ones of a webhook's headers, parsed. Throws a `SyntaxError`. */
export function templatedHeaders(
  headers: readonly { readonly key: string; readonly value: string }[],
): TemplatedHeader[] {
  return headers
    .filter(({ key, value }) => key !== "" && isTemplated(value))
    .map(({ key, value }) => {
      try {
        return { key, template: parseTemplate(value) };
      } catch (error) {
        throw new SyntaxError(`header ${key}: ${(error as Error).message}`, { cause: error });
      }
    });
}

const INSIDE_HEADER: Omit<Writing, "check"> = { escape: (text) => text, escapeJson: asciiJson };

/**
 * Renders a header's value. Throws a `SyntaxError` for what HTTP cannot carry: control characters (a line
 * break would begin another header) and anything beyond Latin-1 (RFC 9110 section 5.5). `{{#json}}` is written in
 * ASCII, so it carries any text. Throws it for more than 16 KiB, too; and what `renderTemplate` throws.
 */
export function renderHeader({ key, template }: TemplatedHeader, context: TemplateValue, rendering: Rendering): string {
  const rendered = `header ${key}: the rendered value`;
  const writing = { ...INSIDE_HEADER, check: (text: string) => checkGrowing(rendered, text) };
  const value = renderTemplate(template, context, writing, rendering).trim();
  checkCharacters(rendered, value);
  const bad = /[^\t\x20-\x7e\x80-\xff]/u.exec(value);
  if (bad !== null) {
    const point = (bad[0].codePointAt(0) as number).toString(16).toUpperCase().padStart(4, "0");
    throw new SyntaxError(`${rendered} holds U+${point}, which no header can carry`);
  }
  return value;
}

function asciiJson(json: string): string {
  return json.replaceAll(/[\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
