import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { DocEvent } from "../../src/events/doc-event.ts";
import type { Webhook } from "../../src/match/webhook.ts";
import type { FrozenRequest } from "../../src/render/delivery.ts";
import { render, templateProblem } from "../../src/render/render.ts";
import { anyText } from "./postgres-values.ts";
import { eventOf, inserted, order, truncated, updated, webhook } from "./changes.ts";

const NO_LIMIT = 1_000_000;
const ID = "msg_1";
const EVENT = eventOf(inserted(order()), "after_insert");
const TOASTED = eventOf(updated(order({ note: undefined }), null), "on_update");

function requestOf(values: Partial<Webhook>, event: DocEvent = EVENT): FrozenRequest {
  const rendered = render(webhook(values), event, NO_LIMIT, ID);
  if (!rendered.ok) throw new Error(rendered.error);
  return rendered.request;
}
const bodyOf = (values: Partial<Webhook>, event?: DocEvent): string => requestOf(values, event).body.toString("utf8");
const formOf = (values: Partial<Webhook>, event?: DocEvent): [string, string][] => [
  ...new URLSearchParams(bodyOf({ structure: "Form URL-Encoded", ...values }, event)),
];

function failureOf(values: Partial<Webhook>, event: DocEvent = EVENT): { outcome: string; error: string } {
  const rendered = render(webhook(values), event, NO_LIMIT, ID);
  if (rendered.ok) throw new Error("it rendered");
  return { outcome: rendered.outcome, error: rendered.error };
}

const header = (value: string, event?: DocEvent): readonly (readonly [string, string])[] =>
  requestOf({ headers: [{ key: "X-Order", value }] }, event).headers;

const dynamic = (requestUrl: string, event?: DocEvent): string | null =>
  requestOf({ requestUrl, isDynamicUrl: true }, event).url;
const failing = (requestUrl: string, customer = ""): string =>
  failureOf({ requestUrl, isDynamicUrl: true }, eventOf(inserted(order({ customer })), "after_insert")).error;

const changeOf = (customer: string): DocEvent[] => {
  const update = updated(order({ customer }), order({ customer: `${customer} before` }));
  return [eventOf(update, "on_update"), eventOf(update, "on_change")];
};

describe("a request's body", () => {
  it("is the envelope where the webhook chooses nothing", () => {
    expect(JSON.parse(bodyOf({}))).toMatchObject({ type: "orders.after_insert", data: { doc: { paid: true } } });
    expect(JSON.parse(bodyOf({ template: " \n" }))).toHaveProperty("type");
  });
  it("is an object of the chosen columns, in their order, under their keys", () => {
    const data = [
      { fieldname: "total", key: "amount" },
      { fieldname: "id", key: 'the "id"' },
      { fieldname: "note", key: "note" },
    ];
    expect(bodyOf({ data })).toBe('{"amount":1234.50,"the \\"id\\"":9007199254740993,"note":null}');
  });
  it("has the last of two columns under the same key", () => {
    const data = ["id", "total"].map((fieldname) => ({ fieldname, key: "x" }));
    expect(bodyOf({ data })).toBe('{"x":1234.50}');
  });
  it("is what the template makes, byte for byte", () => {
    const template = '{\n  "é": "{{doc.customer}}",\n  "total": {{doc.total}}\n}\n';
    expect(bodyOf({ template })).toBe('{\n  "é": "Ada \\"Countess\\" Lovelace",\n  "total": 1234.50\n}\n');
  });
  it("comes from the chosen columns where there is a template too", () => {
    expect(bodyOf({ data: [{ fieldname: "id", key: "id" }], template: "{}" })).toBe('{"id":9007199254740993}');
  });
  it("is there for DELETE as for every method", () => {
    for (const method of ["POST", "PUT", "PATCH", "DELETE"] as const) {
      const request = requestOf({ method });
      expect(request.method).toBe(method);
      expect(request.body.length).toBeGreaterThan(100);
    }
  });
  it("has nulls for the columns of a truncated table, which has no document", () => {
    const event = eventOf(truncated(), "on_truncate");
    expect(bodyOf({ data: [{ fieldname: "id", key: "id" }] }, event)).toBe('{"id":null}');
  });
});

describe("a form-encoded body", () => {
  it("is really form-encoded: texts, numbers and booleans as they are, null as nothing, the rest as JSON", () => {
    const data = ["customer", "total", "paid", "note", "lines"].map((fieldname) => ({ fieldname, key: fieldname }));
    expect(formOf({ data })).toEqual([
      ["customer", 'Ada "Countess" Lovelace'],
      ["total", "1234.50"],
      ["paid", "true"],
      ["note", ""],
      ["lines", order()[4]],
    ]);
    expect(bodyOf({ structure: "Form URL-Encoded", data: data.slice(0, 2) })).toBe(
      "customer=Ada+%22Countess%22+Lovelace&total=1234.50",
    );
  });
  it("carries any text", () => {
    fc.assert(
      fc.property(anyText, (customer) => {
        const event = eventOf(inserted(order({ customer })), "after_insert");
        const data = [{ fieldname: "customer", key: customer || "k" }];
        expect(formOf({ data }, event)).toEqual([[customer || "k", customer]]);
      }),
    );
  });
  it("has the members of the object that a template makes", () => {
    const template = '{"a": {{#json}}doc.customer{{/json}}, "n": 12345678901234567890, "l": [1.10, null]}';
    expect(formOf({ template })).toEqual([
      ["a", 'Ada "Countess" Lovelace'],
      ["n", "12345678901234567890"],
      ["l", "[1.10,null]"],
    ]);
  });
  it("is the envelope without nesting where the webhook chooses nothing", () => {
    const form = Object.fromEntries(formOf({}));
    expect(form).toMatchObject({ type: "orders.after_insert", name: "9007199254740993", event: "after_insert" });
    expect(JSON.parse(form["doc"] as string)).toHaveProperty("paid", true);
  });
  it("is refused for a template that makes another JSON value", () => {
    expect(failureOf({ structure: "Form URL-Encoded", template: "[1]" }).error).toMatch(/a form needs a JSON object/);
  });
});

describe("the content type", () => {
  it("follows from the structure", () => {
    expect(requestOf({}).contentType).toBe("application/json");
    expect(requestOf({ structure: "Form URL-Encoded" }).contentType).toBe("application/x-www-form-urlencoded");
  });
  it("is the header's where the user set one, templated or not", () => {
    expect(requestOf({ headers: [{ key: "content-type", value: "application/cloudevents+json" }] }).contentType).toBe(
      "application/cloudevents+json",
    );
    const templated = requestOf({ headers: [{ key: "Content-Type", value: "application/vnd.{{doctype}}+json" }] });
    expect(templated.contentType).toBe("application/vnd.orders+json");
    expect(templated.headers).toEqual([]);
  });
});

describe("headers", () => {
  it("are frozen where they are templated; static ones are taken at each attempt", () => {
    expect(header("Bearer abc")).toEqual([]);
    expect(header("{{event}} of {{doc.customer}}")).toEqual([["X-Order", 'after_insert of Ada "Countess" Lovelace']]);
  });
  it("are left out where they render to nothing", () => {
    expect(header("{{doc.note}}")).toEqual([]);
  });
  it("refuse line breaks and other control characters, which would make another header", () => {
    for (const customer of ["a\r\nX-Admin: 1", "a\nb", "a\u0000b", "a\u007fb"]) {
      const event = eventOf(inserted(order({ customer })), "after_insert");
      const failure = failureOf({ headers: [{ key: "X-Order", value: "{{doc.customer}}" }] }, event);
      expect(failure).toMatchObject({ outcome: "error" });
      expect(failure.error).toMatch(/^header X-Order: the rendered value holds U\+00/);
    }
  });
  it("carry Latin-1, and any other text as JSON in ASCII", () => {
    const event = eventOf(inserted(order({ customer: "Zoë 😀" })), "after_insert");
    expect(header("{{doc.customer}}", eventOf(inserted(order({ customer: "Zoë" })), "after_insert"))).toEqual([
      ["X-Order", "Zoë"],
    ]);
    expect(failureOf({ headers: [{ key: "X", value: "{{doc.customer}}" }] }, event).error).toMatch(/U\+1F600/);
    const [[, json] = ["", ""]] = header("{{#json}}doc.customer{{/json}}", event);
    expect(json).toBe('"Zo\\u00eb \\ud83d\\ude00"');
    expect(JSON.parse(json)).toBe("Zoë 😀");
  });
});

describe("a dynamic URL", () => {
  it("has its values percent-encoded", () => {
    const event = eventOf(inserted(order({ customer: "a/b?c=d&e#f é%" })), "after_insert");
    expect(dynamic("https://example.org/{{doc.customer}}?q={{doc.customer}}&id={{doc.id}}", event)).toBe(
      "https://example.org/a%2Fb%3Fc%3Dd%26e%23f%20%C3%A9%25?q=a%2Fb%3Fc%3Dd%26e%23f%20%C3%A9%25&id=9007199254740993",
    );
  });
  it("never lets an encoded value out of its place", () => {
    fc.assert(
      fc.property(anyText, (customer) => {
        const event = eventOf(inserted(order({ customer })), "after_insert");
        const url = new URL(
          dynamic("https://example.org/a/x{{doc.customer}}/b?q={{doc.customer}}#end", event) as string,
        );
        expect(url.pathname.split("/").map(decodeURIComponent)).toEqual(["", "a", `x${customer}`, "b"]);
        expect(url.searchParams.get("q")?.replaceAll(" ", "+")).toBe(customer.replaceAll(" ", "+"));
        expect(url.host + url.hash).toBe("example.org#end");
      }),
    );
  });
  it("has three braces for values that are URLs themselves", () => {
    const event = eventOf(inserted(order({ customer: "https://hooks.example.org/t/1?k=v" })), "after_insert");
    expect(dynamic("{{{doc.customer}}}", event)).toBe("https://hooks.example.org/t/1?k=v");
  });
  it("is refused where it is not absolute http or https", () => {
    for (const url of ["/relative", "ftp://example.org/", "javascript:alert(1)", "{{doc.note}}", "https://"]) {
      expect(failing(url)).toBe("request_url: the rendered text is not an absolute http or https URL");
    }
  });
  it("is refused where a value makes a step to another path", () => {
    expect(failing("https://example.org/tenants/{{doc.customer}}/hook", "..")).toMatch(/has a step/);
    expect(failing("https://example.org/tenants/{{doc.customer}}", ".")).toMatch(/has a step/);
    expect(failing("https://example.org/tenants/{{doc.customer}}{{doc.customer}}?x", ".")).toMatch(/has a step/);
    const event = eventOf(inserted(order({ customer: ".." })), "after_insert");
    expect(dynamic("https://example.org/t?path=/{{doc.customer}}/", event)).toBe("https://example.org/t?path=/../");
  });
  it("is null where the webhook's URL is static, braces or not", () => {
    expect(requestOf({ requestUrl: "https://example.org/{{doc.id}}" }).url).toBeNull();
  });
});

describe("what cannot be rendered is an error value", () => {
  it("undecidable where a value is needed that the WAL does not carry", () => {
    const asking: Partial<Webhook>[] = [
      { template: '"{{doc.note}}"' },
      { data: [{ fieldname: "note", key: "note" }] },
      { requestUrl: "https://example.org/{{doc.note}}", isDynamicUrl: true },
      { headers: [{ key: "X-Note", value: "{{doc.note}}" }] },
    ];
    for (const values of asking) {
      const failure = failureOf(values, TOASTED);
      expect(failure.outcome).toBe("undecidable");
      expect(failure.error).toMatch(/column "note".*REPLICA IDENTITY FULL/s);
    }
    expect(failureOf({ data: [{ fieldname: "margin", key: "m" }] }).outcome).toBe("undecidable");
  });
  it("with line and column where a template's result is not JSON, and without the row's data", () => {
    const { outcome, error } = failureOf({ template: '{\n  "customer": {{doc.customer}}\n}' });
    expect(outcome).toBe("error");
    expect(error).toBe('webhook_json: the rendered text is not JSON: unexpected "A" at line 2, column 15');
  });
  it("where a chosen column is not there any more", () => {
    expect(failureOf({ data: [{ fieldname: "gone", key: "gone" }] })).toEqual({
      outcome: "error",
      error: 'webhook_data: orders has no column "gone"',
    });
  });
  it("where a template does not parse, which is known before any event", () => {
    const broken = webhook({ template: "{{#doc}}" });
    expect(templateProblem(broken)).toMatch(/^webhook_json: Unclosed section "doc"/);
    expect(render(broken, EVENT, NO_LIMIT, ID)).toMatchObject({ ok: false, outcome: "error" });
    expect(templateProblem(webhook({ headers: [{ key: "X", value: "{{>a}}" }] }))).toMatch(/^header X: partials/);
    expect(templateProblem(webhook({ isDynamicUrl: true, requestUrl: "{{=" }))).toMatch(/^request_url: /);
    expect(templateProblem(webhook({ template: "{}" }))).toBeNull();
  });
  it("where a value is nested too deeply to be looked into", () => {
    const lines = `${"[".repeat(200_000)}${"]".repeat(200_000)}`;
    const event = eventOf(inserted(order({ lines })), "after_insert");
    expect(failureOf({ template: "[{{#doc.lines}}1{{/doc.lines}}]" }, event).outcome).toBe("error");
  });
});

describe("what is remembered between events", () => {
  it("never leaks from one change into another", () => {
    const template = '{"c": "{{doc.customer}}", "e": "{{event}}", "doc": {{#json}}doc{{/json}}}';
    const events = ["a", "b", "c"].flatMap(changeOf);
    fc.assert(
      fc.property(fc.array(fc.nat(events.length - 1), { maxLength: 12 }), (indexes) => {
        for (const index of indexes) {
          const event = events[index] as DocEvent;
          const customer = "abc"[Math.floor(index / 2)];
          expect(JSON.parse(bodyOf({ template }, event))).toMatchObject({
            c: customer,
            e: event.name,
            doc: { customer },
          });
          expect(JSON.parse(bodyOf({}, event))).toMatchObject({
            data: { event: event.name, doc: { customer }, old: { customer: `${customer} before` } },
          });
        }
      }),
    );
  });
});
