import type { JsonKind, Relation } from "../../src/decode/relation.ts";
import type { Row, RowChange } from "../../src/decode/row-change.ts";
import { docEvents } from "../../src/events/doc-events.ts";
import type { DocEvent, DocEventName } from "../../src/events/doc-event.ts";
import type { Webhook } from "../../src/match/webhook.ts";

const text: JsonKind = { kind: "text" };
const number: JsonKind = { kind: "number" };

/** A table of orders: `id` is the key, `note` long enough to be toasted, `margin` generated and not in the stream. */
export const ORDERS: Relation = {
  oid: 16_400,
  schema: "public",
  table: "orders",
  doctype: "orders",
  columns: [
    { name: "id", typeOid: 20, json: number },
    { name: "customer", typeOid: 25, json: text },
    { name: "total", typeOid: 1700, json: number },
    { name: "paid", typeOid: 16, json: { kind: "boolean" } },
    { name: "lines", typeOid: 3802, json: { kind: "json" } },
    { name: "placed_at", typeOid: 1184, json: { kind: "timestamptz" } },
    { name: "note", typeOid: 25, json: text },
  ],
  keyIndexes: [0],
  docstatusIndex: -1,
  omitted: ["margin"],
  isPartitioned: false,
};

/** An order's row: the defaults with these values instead. */
export function order(values: Readonly<Record<string, string | null | undefined>> = {}): Row {
  const defaults: Readonly<Record<string, string | null>> = {
    id: "9007199254740993",
    customer: 'Ada "Countess" Lovelace',
    total: "1234.50",
    paid: "t",
    lines: '[{"item": "bolt", "price": 0.10}, {"item": "nut", "price": 12345678901234567890}]',
    placed_at: "2026-11-24 16:55:32.000001+00",
    note: null,
  };
  return ORDERS.columns.map(({ name }) => (name in values ? values[name] : defaults[name]));
}

const PLACE = {
  transaction: { commitLsn: 0x16_b374_d848n, commitTimeUs: 1_795_539_332_123_456n, xid: 4_294_967_295 },
  position: { commitLsn: 0x16_b374_d848n, changeLsn: 0x16_b374_d800n, index: 3 },
};

export function inserted(row: Row, relation: Relation = ORDERS): RowChange {
  return { ...PLACE, relation, kind: "insert", new: row };
}

export function updated(
  row: Row,
  old: Row | null,
  relation: Relation = ORDERS,
): RowChange & { readonly kind: "update" } {
  return { ...PLACE, relation, kind: "update", new: row, old };
}

export function deleted(old: Row, relation: Relation = ORDERS): RowChange {
  return { ...PLACE, relation, kind: "delete", old };
}

export function truncated(relation: Relation = ORDERS): RowChange {
  return { ...PLACE, relation, kind: "truncate" };
}

/** The event of that name which the change makes. */
export function eventOf(change: RowChange, name: DocEventName): DocEvent {
  const found = docEvents(change).find((event) => event.name === name);
  if (found === undefined) throw new Error(`the change makes no ${name}`);
  return found;
}

/** A webhook with defaults for everything but what is told. */
export function webhook(values: Partial<Webhook> = {}): Webhook {
  return {
    id: 7,
    name: "new-order",
    doctypeOid: ORDERS.oid,
    events: ["after_insert"],
    enabled: true,
    condition: null,
    requestUrl: "https://example.org/hook",
    isDynamicUrl: false,
    method: "POST",
    structure: "JSON",
    payloadFormat: "plain",
    cloudeventsSource: "",
    handshakeOrigin: null,
    template: null,
    data: [],
    headers: [],
    timeoutMs: 5000,
    retryScheduleMs: null,
    isOrdered: true,
    onExhausted: "continue",
    batchSize: 1,
    batchWindowMs: 0,
    rateLimit: null,
    disableAfterMs: null,
    isPaused: false,
    route: { proxy: null, tlsProfile: null, tlsMinVersion: "TLSv1.2" },
    kept: { requestBytes: null, responseBytes: null },
    logsDecisions: false,
    secrets: [],
    signatureFormats: ["standard", "frappe"],
    ...values,
  };
}
