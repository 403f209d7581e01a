import type { Template } from "./template.ts";
import { renderTemplate, type Writing } from "./render-template.ts";
import type { Rendering } from "./rendering.ts";
import type { TemplateValue } from "./template-value.ts";
import { checkCharacters, checkGrowing } from "./text-bound.ts";

const RENDERED = "request_url: the rendered text";
const INSIDE_URL: Writing = {
  escape: encodeURIComponent,
  escapeJson: encodeURIComponent,
  check: (text) => checkGrowing(RENDERED, text),
};

/**
 * Renders a dynamic URL. `{{name}}` is percent-encoded as one part of a path or query (`encodeURIComponent`),
 * `{{{name}}}` is put as it is. Returns the URL as it goes on the wire; throws a `SyntaxError` where it is not an
 * absolute http or https URL of at most 16 KiB, or where a value makes a path step such as `..`; and what `renderTemplate` throws.
 */
export function renderUrl(template: Template, context: TemplateValue, rendering: Rendering): string {
  const text = renderTemplate(template, context, INSIDE_URL, rendering).trim();
  checkCharacters(RENDERED, text);
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || (url.protocol !== "http:" && url.protocol !== "https:")) {
    throw new SyntaxError("request_url: the rendered text is not an absolute http or https URL");
  }
  // Percent-encoding cannot keep a value of dots from leading to another path: URL parsers resolve %2e too.
  if (DOT_SEGMENT.test(text)) {
    throw new SyntaxError('request_url: the rendered path has a step "." or ".."');
  }
  return url.href;
}

const DOT_SEGMENT = /^[^?#]*[/\\](?:\.|%2e){1,2}(?:[/\\?#]|$)/i;
