import { describe, expect, it } from "vitest";
import type { DocEvent } from "../../src/events/doc-event.ts";
import type { Webhook } from "../../src/match/webhook.ts";
import { MAX_STEPS } from "../../src/render/rendering.ts";
import { render, type Rendered } from "../../src/render/render.ts";
import { eventOf, inserted, order, webhook } from "./changes.ts";

const MAX_BODY = 8 * 1024 * 1024;
const within = (values: Partial<Webhook>, event: DocEvent): Rendered =>
  render(webhook(values), event, MAX_BODY, "msg_1");
const withLines = (lines: unknown): DocEvent =>
  eventOf(inserted(order({ lines: typeof lines === "string" ? lines : JSON.stringify(lines) })), "after_insert");

/** A name as sections inside each other, around a text. */
const nested = (name: string, depth: number, text: string): string =>
  `${`{{#${name}}}`.repeat(depth)}${text}${`{{/${name}}}`.repeat(depth)}`;

const TOO_LONG = {
  ok: false,
  outcome: "error",
  errorClass: "template_too_long",
  error: expect.stringContaining(`more than ${MAX_STEPS} steps`),
};

describe("templates that take too many steps", () => {
  const list = withLines(Array.from({ length: 200 }, (_, n) => n + 1));
  const endless = nested("doc.lines", 5, "");

  it.each([
    ["a body", { template: `1${endless}` }],
    ["a form", { template: `{"a": 1${endless}}`, structure: "Form URL-Encoded" }],
    ["a URL", { isDynamicUrl: true, requestUrl: `https://example.org/${endless}` }],
    ["a header", { headers: [{ key: "X-Order", value: `x${endless}` }] }],
    ["a content type", { headers: [{ key: "Content-Type", value: `text/plain${endless}` }] }],
    ["a CloudEvent", { template: `1${endless}`, payloadFormat: "cloudevents-structured" }],
    [
      "a header of a CloudEvent",
      { headers: [{ key: "X", value: `x${endless}` }], payloadFormat: "cloudevents-binary" },
    ],
  ] as const)("end in an error of their own: %s", (_, values) => {
    expect(within(values as Partial<Webhook>, list)).toMatchObject(TOO_LONG);
  });

  it("count together for one request, so that many headers are no way around it", () => {
    const value = `x${nested("doc.lines", 2, "")}`;
    const headers = (count: number): Partial<Webhook> => ({
      headers: Array.from({ length: count }, (_, n) => ({ key: `X-${n}`, value })),
    });
    expect(within(headers(5), list)).toMatchObject({ ok: true });
    expect(within(headers(50), list)).toMatchObject(TOO_LONG);
    expect(within(headers(5), list)).toMatchObject({ ok: true });
  });

  it("count the contexts that a name is sought in, and a name that is very long", () => {
    expect(within({ template: `1${nested("doc", 500, nested("lines", 1, "{{a}}".repeat(20)))}` }, list)).toMatchObject(
      TOO_LONG,
    );
    const name = `doc.${"a".repeat(300_000)}`;
    expect(within({ template: `1${nested("doc.lines", 1, `{{${name}}}`.repeat(5))}` }, list)).toMatchObject(TOO_LONG);
    expect(within({ template: `1{{doc${".a".repeat(20_000)}}}` }, list)).toMatchObject({ ok: true });
  });

  it("are none where a body of the largest size is made of values", () => {
    const long = withLines(Array.from({ length: 100_000 }, (_, n) => ({ n, a: "some text", b: n / 7, c: null })));
    const template = `[{{#doc.lines}}{"n": {{n}}, "a": "{{a}}", "b": {{#json}}b{{/json}}, "c": {{^c}}0{{/c}}}{{^-last}},{{/-last}}{{/doc.lines}}]`;
    expect(within({ template }, long)).toMatchObject({ ok: true });
  });
});

describe("a long value", () => {
  it("is taken apart once, however often a template looks into it", () => {
    // Each time anew it would take 50 ms: 5,000 times four minutes.
    const text = "x".repeat(2_000_000);
    const looked = nested("doc.lines.list", 1, `{{doc.lines.nothing}}{{#doc.lines.nothing}}{{/doc.lines.nothing}}`);
    const event = withLines({ text, list: Array.from({ length: 5000 }, () => 1) });
    expect(within({ template: `1${looked}` }, event)).toMatchObject({ ok: true });
  });

  it("of digits is looked at once to see whether it is zero", () => {
    const event = withLines(
      `{"zero": 0.${"0".repeat(1_000_000)}, "list": [${Array.from({ length: 20_000 }, () => 1).join()}]}`,
    );
    const looked = nested("doc.lines.list", 1, "{{#doc.lines.zero}}1{{/doc.lines.zero}}");
    expect(within({ template: `1${looked}` }, event)).toMatchObject({ ok: true });
  });

  it("repeated in a URL or header ends before it takes all memory", () => {
    const event = eventOf(
      inserted(order({ customer: "é".repeat(100_000), lines: JSON.stringify(Array.from({ length: 1000 }, () => 1)) })),
      "after_insert",
    );
    const long = nested("doc.lines", 2, "{{doc.customer}}");
    expect(within({ isDynamicUrl: true, requestUrl: `https://example.org/${long}` }, event)).toMatchObject({
      ok: false,
      outcome: "error",
      error: expect.stringMatching(/^request_url: the rendered text has \d{7} characters or more, at most 16384/),
    });
    expect(within({ headers: [{ key: "X-Order", value: long }] }, event)).toMatchObject({
      ok: false,
      outcome: "error",
      error: expect.stringMatching(/^header X-Order: the rendered value has \d{7} characters or more, at most 16384/),
    });
  });
});
