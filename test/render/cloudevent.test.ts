import { HTTP, type CloudEvent } from "cloudevents";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { DocEvent } from "../../src/events/doc-event.ts";
import type { PayloadFormat, Webhook } from "../../src/match/webhook.ts";
import type { FrozenRequest } from "../../src/render/delivery.ts";
import { render } from "../../src/render/render.ts";
import { deleted, eventOf, inserted, order, ORDERS, truncated, updated, webhook } from "./changes.ts";
import { anyText } from "./postgres-values.ts";

const ID = "msg_00000000000000000000000000000000000000000000000000";
const SOURCE = "/walhook/shop/public.orders";
const EVENT = eventOf(inserted(order()), "after_insert");

function requestOf(payloadFormat: PayloadFormat, event: DocEvent = EVENT, values: Partial<Webhook> = {}) {
  const rendered = render(webhook({ payloadFormat, cloudeventsSource: SOURCE, ...values }), event, 1_000_000, ID);
  if (!rendered.ok) throw new Error(rendered.error);
  return rendered.request;
}

/** As the package of the specification's authors reads it, and found valid by it. */
function read({ contentType, headers, body }: FrozenRequest): CloudEvent {
  const message = { headers: { ...Object.fromEntries(headers), "content-type": contentType }, body: body.toString() };
  const event = HTTP.toEvent(message) as CloudEvent;
  expect(event.validate()).toBe(true);
  // Once more, strictly, without what the first reading may have mended.
  expect(() => event.cloneWith({}, true)).not.toThrow();
  return event;
}

/** Percent-encoding undone: the package leaves that to its user. */
const decoded = (text: unknown): string => decodeURIComponent(text as string);
const dataOf = (event: DocEvent): unknown =>
  (JSON.parse(requestOf("plain", event).body.toString()) as { readonly data: unknown }).data;
const attributes = {
  id: ID,
  source: SOURCE,
  type: "orders.after_insert",
  specversion: "1.0",
  subject: "9007199254740993",
  datacontenttype: "application/json",
  lsn: "16/B374D848",
  xid: "4294967295",
};

describe("a CloudEvent", () => {
  it("has its attributes in structured mode beside the envelope's data", () => {
    const request = requestOf("cloudevents-structured");
    expect(request).toMatchObject({ contentType: "application/cloudevents+json", headers: [] });
    expect(JSON.parse(request.body.toString())).toEqual({
      ...attributes,
      time: "2026-11-24T16:55:32.123456Z",
      data: dataOf(EVENT),
    });
    expect(read(request)).toMatchObject(attributes);
  });
  it("has its attributes in binary mode in headers, and the data as its body", () => {
    const request = requestOf("cloudevents-binary");
    expect(request.contentType).toBe("application/json");
    expect(Object.fromEntries(request.headers)).toEqual({
      "ce-id": ID,
      "ce-source": SOURCE,
      "ce-type": "orders.after_insert",
      "ce-specversion": "1.0",
      "ce-time": "2026-11-24T16:55:32.123456Z",
      "ce-subject": "9007199254740993",
      "ce-lsn": "16/B374D848",
      "ce-xid": "4294967295",
    });
    expect(JSON.parse(request.body.toString())).toEqual(dataOf(EVENT));
    expect(read(request)).toMatchObject(attributes);
  });
  it.each(["cloudevents-structured", "cloudevents-binary"] as const)(
    "carries what the webhook chooses as its data: %s",
    (format) => {
      const data = [{ fieldname: "total", key: "amount" }];
      expect(read(requestOf(format, EVENT, { data })).data).toEqual({ amount: 1234.5 });
      expect(read(requestOf(format, EVENT, { template: '{"id": {{doc.id}}}' })).data).toEqual({
        id: Number("9007199254740993"),
      });
    },
  );
  it("keeps every digit of a number", () => {
    const data = [{ fieldname: "id", key: "id" }];
    expect(requestOf("cloudevents-structured", EVENT, { data }).body.toString()).toContain(
      '"data":{"id":9007199254740993}}',
    );
  });
  it("is valid for any document, row and kind of change, and both modes say the same", () => {
    fc.assert(
      fc.property(
        anyText,
        fc.option(anyText),
        fc.constantFrom("0", "-0.000", "NaN", "1e-100", "12345678901234567890.12", null),
        fc.constantFrom("inserted", "updated", "deleted", "truncated"),
        (name, note, total, kind) => {
          const relation = { ...ORDERS, keyIndexes: [1] };
          const row = order({ customer: name, note, total });
          const [change, docevent] = (
            {
              inserted: [inserted(row, relation), "after_insert"],
              updated: [updated(row, order({ customer: `old ${name}` }), relation), "on_update"],
              deleted: [deleted(row, relation), "on_trash"],
              truncated: [truncated(relation), "on_truncate"],
            } as const
          )[kind];
          const event = eventOf(change, docevent);
          const [structured, binary] = [
            requestOf("cloudevents-structured", event),
            requestOf("cloudevents-binary", event),
          ];
          const [one, other] = [read(structured), read(binary)];
          for (const [, value] of binary.headers) expect(value).toMatch(/^[!#$%&-~]+$/);
          expect(other.data).toEqual(one.data);
          expect(one.data).toEqual(dataOf(event));
          for (const key of ["id", "source", "type", "time", "lsn", "xid"]) expect(other[key]).toEqual(one[key]);
          expect(other.subject === undefined ? undefined : decoded(other.subject)).toBe(one.subject);
          if (one.subject !== undefined) expect(one.subject).toBe(event.docname);
        },
      ),
    );
  });
  it.each([
    ["Sales Order 1", "Sales%20Order%201"],
    ['50 % "net"', "50%20%25%20%22net%22"],
    ["Zoë €😀", "Zo%C3%AB%20%E2%82%AC%F0%9F%98%80"],
    ["{a,b}~!#$&'*", "{a,b}~!#$&'*"],
  ])("is percent-encoded in a header as the HTTP binding says: %s", (name, encoded) => {
    const event = eventOf(inserted(order({ customer: name }), { ...ORDERS, keyIndexes: [1] }), "after_insert");
    expect(Object.fromEntries(requestOf("cloudevents-binary", event).headers)["ce-subject"]).toBe(encoded);
  });
  it.each([
    ["none at all", ""],
    ["a line break, which no attribute may hold", "a\nb"],
    ["a noncharacter", "a\uffff"],
    ["more than a header can carry", "€".repeat(801)],
  ])("has no subject where the document's name is %s; the data has it", (_, name) => {
    const event = eventOf(inserted(order({ customer: name }), { ...ORDERS, keyIndexes: [1] }), "after_insert");
    for (const format of ["cloudevents-structured", "cloudevents-binary"] as const) {
      const { subject, data } = read(requestOf(format, event));
      expect(subject).toBeUndefined();
      expect(data).toMatchObject({ name });
    }
  });
  it("has headers that a template renders beside its own, and in binary mode another Content-Type", () => {
    const headers = [
      { key: "X-Customer", value: "{{doc.id}}" },
      { key: "Content-Type", value: "application/vnd.shop+json" },
    ];
    const request = requestOf("cloudevents-binary", EVENT, { headers });
    expect(request.contentType).toBe("application/vnd.shop+json");
    expect(Object.fromEntries(request.headers)).toMatchObject({ "X-Customer": "9007199254740993", "ce-id": ID });
  });
  it("is an error where it is too large", () => {
    const hook = webhook({ payloadFormat: "cloudevents-structured", cloudeventsSource: SOURCE });
    expect(render(hook, EVENT, 300, ID)).toMatchObject({ ok: false, errorClass: "body_too_large" });
  });
});
