import fc from "fast-check";
import Mustache from "mustache";
import { describe, expect, it } from "vitest";
import type { DocEvent } from "../../src/events/doc-event.ts";
import { eventContext } from "../../src/render/event-context.ts";
import { parseJsonTree } from "../../src/render/json-tree.ts";
import { INSIDE_JSON_STRING, renderTemplate } from "../../src/render/render-template.ts";
import { parseTemplate } from "../../src/render/template.ts";
import { anyText } from "./postgres-values.ts";
import { deleted, eventOf, inserted, order, truncated, updated } from "./changes.ts";

const unbounded = { check: () => {} };
const EVENT = eventOf(inserted(order()), "after_insert");
const at = (text: string, event: DocEvent = EVENT): string =>
  renderTemplate(parseTemplate(text), eventContext(event), { ...INSIDE_JSON_STRING, ...unbounded });

const asSection = (name: string): string => `{{#doc.${name}}}yes{{/doc.${name}}}{{^doc.${name}}}no{{/doc.${name}}}`;

describe("a template", () => {
  it("prints values: texts escaped for a JSON string, numbers with their digits, null as nothing", () => {
    expect(at("{{doc.customer}}|{{doc.id}}|{{doc.total}}|{{doc.paid}}|{{doc.note}}|{{doc.placed_at}}")).toBe(
      'Ada \\"Countess\\" Lovelace|9007199254740993|1234.50|true||2026-11-24T16:55:32.000001+00:00',
    );
  });
  it("prints a text as it is with three braces or &", () => {
    expect(at("{{{doc.customer}}}|{{&doc.customer}}")).toBe('Ada "Countess" Lovelace|Ada "Countess" Lovelace');
  });
  it("makes a JSON string of any text between quotes", () => {
    fc.assert(
      fc.property(anyText, (customer) => {
        const event = eventOf(inserted(order({ customer })), "after_insert");
        return JSON.parse(at('"{{doc.customer}}"', event)) === customer;
      }),
    );
  });
  it("writes any value as JSON with {{#json}}, digits and all", () => {
    expect(at("{{#json}}doc.customer{{/json}}")).toBe('"Ada \\"Countess\\" Lovelace"');
    expect(at("{{#json}}doc.lines{{/json}}")).toBe(order()[4]);
    expect(at("{{#json}} doc.lines.1.price {{/json}}")).toBe("12345678901234567890");
    expect(at("{{#json}}doc.note{{/json}} {{#json}}doc.nothing{{/json}} {{#json}}name{{/json}}")).toBe(
      'null null "9007199254740993"',
    );
    expect(JSON.parse(at("{{#json}}doc{{/json}}"))).toMatchObject({ paid: true, note: null });
    expect(JSON.parse(at("{{#json}}.{{/json}}"))).toMatchObject({ event: "after_insert", doc: { paid: true } });
  });
  it("walks into json values with dotted names and sections", () => {
    expect(at("{{#doc.lines}}{{item}}={{price}};{{/doc.lines}}")).toBe("bolt=0.10;nut=12345678901234567890;");
    expect(at("{{doc.lines.0.item}} {{doc.lines.length}} {{doc.lines.9.item}}")).toBe("bolt 2 ");
    expect(at("{{#doc.lines}}{{#json}}.{{/json}}{{/doc.lines}}")).toBe(
      '{"item":"bolt","price":0.10}{"item":"nut","price":12345678901234567890}',
    );
  });
  it("knows the event's own names", () => {
    const event = eventOf(updated(order({ id: "2" }), order({ id: "1" })), "on_update");
    expect(at("{{event}} {{doctype}} {{name}} {{old_name}} {{lsn}} {{xid}} {{commit_time}}", event)).toBe(
      "on_update orders 2 1 16/B374D848 4294967295 2026-11-24T16:55:32.123456Z",
    );
    expect(
      at("{{#changed}}{{.}};{{/changed}}{{^unchanged}}none{{/unchanged}}{{#omitted}}{{.}}{{/omitted}}", event),
    ).toBe("id;nonemargin");
  });
  it("prints nothing for a name that does not exist", () => {
    expect(at("[{{nothing}}{{doc.nothing}}{{doc.lines.nothing.further}}{{{doc.customer.further}}}]")).toBe("[]");
  });
  it("has sections that are false for null, false, nothing, zero, the empty text and the empty list", () => {
    const event = eventOf(inserted(order({ paid: "f", total: "0.00", customer: "", lines: "[]" })), "after_insert");
    for (const name of ["note", "paid", "total", "customer", "lines", "nothing"])
      expect(at(asSection(name), event)).toBe("no");
    for (const name of ["id", "paid", "total", "customer"]) expect(at(asSection(name))).toBe("yes");
  });
  it("knows the ends of a list, for the commas between the items of JSON", () => {
    const template = `[{{#doc.lines}}{"i": "{{item}}"}{{#item}}{{^-last}}, {{/-last}}{{/item}}{{/doc.lines}}]`;
    expect(at(template)).toBe('[{"i": "bolt"}, {"i": "nut"}]');
    expect(at("{{#doc.lines}}{{^-first}},{{/-first}}{{item}}{{/doc.lines}}{{#-last}}never{{/-last}}")).toBe("bolt,nut");
  });
  it("finds outer names inside a section, the row's columns first", () => {
    expect(at("{{#doc}}{{customer}} {{event}} {{#lines}}{{item}} {{paid}};{{/lines}}{{/doc}}")).toBe(
      'Ada \\"Countess\\" Lovelace after_insert bolt true;nut true;',
    );
  });
  it("leaves the line of a section tag alone out, and comments", () => {
    expect(at("a\n{{#doc.paid}}\nb\n{{/doc.paid}}\n{{! never }}\nc")).toBe("a\nb\nc");
  });
  it("renders what mustache.js renders, for any JSON data", () => {
    const names = fc.constantFrom("a", "b", "c");
    const { tree } = fc.letrec<{ tree: unknown; leaf: unknown }>((tie) => ({
      leaf: fc.constantFrom<unknown>(null, true, false, 0, 1.5, "", "x", "yz"),
      tree: fc.oneof(
        { maxDepth: 4 },
        tie("leaf"),
        fc.dictionary(names, tie("tree"), { maxKeys: 3 }),
        fc.array(
          tie("leaf").filter((leaf) => leaf !== null),
          { maxLength: 3 },
        ),
      ),
    }));
    const { template } = fc.letrec<{ template: string }>((tie) => ({
      template: fc.oneof(
        { maxDepth: 4 },
        fc.constantFrom("x", " ", "\n", "{{#a}}{{b}}{{/a}}", "{{^b}}-{{/b}}"),
        fc
          .tuple(names, fc.constantFrom("#", "^"), tie("template"))
          .map(([n, sign, body]) => `{{${sign}${n}}}${body}{{/${n}}}`),
        fc.tuple(tie("template"), tie("template")).map(([one, other]) => one + other),
        names.map((n) => `{{#${n}}}{{^a}}{{{b}}}{{/a}}{{/${n}}}`),
      ),
    }));
    fc.assert(
      fc.property(fc.dictionary(names, tree), template, (data, text) => {
        const ours = renderTemplate(parseTemplate(text), parseJsonTree(JSON.stringify(data)), {
          escape: (value) => value,
          ...unbounded,
        });
        // Where we print JSON, mustache.js prints [object Object] and lists without brackets.
        fc.pre(!/[[{]/.test(ours));
        expect(ours).toBe(new Mustache.Writer().render(text, data, undefined, { escape: String }));
      }),
      { numRuns: 1000 },
    );
  });
});

describe("a template that needs a value which the WAL does not carry", () => {
  const toasted = eventOf(updated(order({ note: undefined }), null), "on_update");
  it("is an error that names the column and the remedy, never an empty text", () => {
    const asked = [
      "{{doc.note}}",
      "{{#doc.note}}x{{/doc.note}}",
      "{{^doc.note}}x{{/doc.note}}",
      "{{#json}}doc.note{{/json}}",
    ];
    for (const text of [...asked, "{{#doc}}{{note}}{{/doc}}"]) {
      expect(() => at(text, toasted)).toThrow(/column "note" of orders did not change.*REPLICA IDENTITY FULL/s);
    }
  });
  it("renders where it does not ask for that value", () => {
    expect(at("{{doc.customer}} {{#unchanged}}{{.}}{{/unchanged}}", toasted)).toMatch(/ note$/);
    expect(JSON.parse(at("{{#json}}doc{{/json}}", toasted))).not.toHaveProperty("note");
  });
  it("is an error for an unknown row before, which a section can ask about", () => {
    expect(() => at("{{old.total}}", toasted)).toThrow(/"total" of orders before the change/);
    expect(() => at("{{#json}}old{{/json}}", toasted)).toThrow(/row of orders before the change/);
    expect(at("{{#old}}x{{/old}}{{^old}}not known{{/old}}", toasted)).toBe("not known");
  });
  it("is an error for a generated column that is not in the stream", () => {
    expect(() => at("{{doc.margin}}")).toThrow(/"margin" of orders is generated/);
  });
  it("is none where there was no row before", () => {
    expect(at("[{{old.total}}]{{^old}}new{{/old}}")).toBe("[]new");
    expect(at("[{{doc.total}}]", eventOf(truncated(), "on_truncate"))).toBe("[]");
  });
  it("has the row before as old and as doc for a delete", () => {
    expect(at("{{doc.total}} {{old.total}}", eventOf(deleted(order()), "on_trash"))).toBe("1234.50 1234.50");
  });
});

describe("a template that does not parse", () => {
  it("is refused with line and column", () => {
    expect(() => parseTemplate('{\n "a": {{doc.a}')).toThrow(/Unclosed tag at line 2/);
    expect(() => parseTemplate("{{#a}}\n{{/b}}")).toThrow('Unclosed section "a" at line 2, column 1');
    expect(() => parseTemplate("{{/b}}")).toThrow('Unopened section "b" at line 1, column 1');
  });
  it("is refused for partials, other delimiters, blocks and parents", () => {
    expect(() => parseTemplate("a\n {{> part}}")).toThrow(
      "partials ({{>part}}) are not supported, at line 2, column 2",
    );
    expect(() => parseTemplate("{{=<% %>=}}")).toThrow(/other delimiters/);
    expect(() => parseTemplate("{{$block}}")).toThrow(/blocks and parents/);
  });
  it("is refused for a {{#json}} without exactly one name", () => {
    for (const text of [
      "{{#json}}{{/json}}",
      "{{#json}} {{/json}}",
      "{{#json}}{{doc.a}}{{/json}}",
      "{{^json}}a{{/json}}",
    ]) {
      expect(() => parseTemplate(text)).toThrow(/\{\{#json\}\} takes one name/);
    }
  });
  it("is refused for an empty part of a name", () => {
    expect(() => parseTemplate("{{doc..a}}")).toThrow('"doc..a" is not a name');
    expect(() => parseTemplate("{{}}")).toThrow(/is not a name/);
  });
});
