import { HTTP, type CloudEvent } from "cloudevents";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { attempt } from "../../src/deliver/attempt.ts";
import { KeyRing } from "../../src/deliver/key-ring.ts";
import { batchOf, bundle, single, type Parcel } from "../../src/deliver/parcel.ts";
import type { RoutingTransport } from "../../src/deliver/routing-transport.ts";
import { newTicket, type Ticket } from "../../src/deliver/ticket.ts";
import type { RequestMethod, Secret, Webhook } from "../../src/match/webhook.ts";
import { render } from "../../src/render/render.ts";
import { eventOf, inserted, order, ORDERS, webhook } from "../render/changes.ts";
import { startRawReceiver, type RawReceiver } from "../support/raw-receiver.ts";
import { expectSigned, WHSEC, WHSK, type SignedWith } from "../support/signed-requests.ts";
import { PROXIES, startSurroundings, type Surroundings } from "../support/transports.ts";

let world: Surroundings;
let transport: RoutingTransport;
let receivers: Readonly<Record<"http" | "https", RawReceiver>>;
beforeAll(async () => {
  world = await startSurroundings();
  transport = world.transport();
  receivers = { http: await startRawReceiver(), https: await startRawReceiver({ tls: true }) };
});
afterAll(async () => {
  await world.close();
  for (const receiver of Object.values(receivers)) await receiver[Symbol.asyncDispose]();
});

const METHODS: readonly RequestMethod[] = ["POST", "PUT", "PATCH", "DELETE"];
const DATA = [
  { fieldname: "total", key: "amount" },
  { fieldname: "customer", key: "für wen" },
];
const TEMPLATE = '{"text": "{{doc.customer}}", "row": {{#json}}doc{{/json}}}';
const CLOUDEVENTS = { cloudeventsSource: "/walhook/shop/public.orders" };
/** Every way to make a body. */
const FORMATS: Readonly<Record<string, Partial<Webhook>>> = {
  envelope: {},
  "chosen columns": { data: DATA },
  template: { template: TEMPLATE },
  "form of the envelope": { structure: "Form URL-Encoded" },
  "form of chosen columns": { structure: "Form URL-Encoded", data: DATA },
  "form of a template": { structure: "Form URL-Encoded", template: TEMPLATE },
  "CloudEvent, structured": { ...CLOUDEVENTS, payloadFormat: "cloudevents-structured" },
  "CloudEvent, binary": { ...CLOUDEVENTS, payloadFormat: "cloudevents-binary" },
  batch: { batchSize: 3 },
  "batch of templates": { batchSize: 3, template: TEMPLATE },
  "batch of CloudEvents": { ...CLOUDEVENTS, payloadFormat: "cloudevents-structured", batchSize: 3 },
};
const secretOf = (text: string, kind: Secret["kind"]): Secret => ({ text, kind, expiresAtMs: null, id: null });
const KEYS: readonly (SignedWith & Pick<Webhook, "secrets" | "signatureFormats">)[] = [
  {
    symmetric: true,
    ed25519: false,
    secrets: [secretOf(WHSEC, "symmetric")],
    signatureFormats: ["standard", "frappe", "github", "stripe"],
  },
  { symmetric: false, ed25519: true, secrets: [secretOf(WHSK, "ed25519")], signatureFormats: ["standard", "frappe"] },
  {
    symmetric: true,
    ed25519: true,
    secrets: [secretOf(WHSEC, "symmetric"), secretOf(WHSK, "ed25519")],
    signatureFormats: ["stripe", "github", "frappe", "standard"],
  },
];

const CUSTOMERS = ['Zoë "€" 😀\u2028', "line\r\nbreak\ttab \\ & = + %", ""];
const relation = { ...ORDERS, keyIndexes: [0, 1] };

function ticketOf(hook: Webhook, customer: string, number: number): Ticket {
  const event = eventOf(inserted(order({ id: String(number), customer }), relation), "after_insert");
  const id = `msg_${String(number).padStart(48, "0")}`;
  const rendered = render(hook, event, 1_000_000, id);
  if (!rendered.ok) throw new Error(rendered.error);
  const { transaction, position } = event.change;
  const delivery = {
    id,
    webhookId: hook.id,
    webhookName: hook.name,
    doctype: "orders",
    docname: event.docname,
    oldDocname: null,
    docevent: event.name,
    source: "live",
    position,
    xid: transaction.xid,
    commitTimeUs: transaction.commitTimeUs,
    isOrdered: true,
  } as const;
  return newTicket(delivery, rendered.request);
}

function parcelOf(hook: Webhook): Parcel {
  const tickets = CUSTOMERS.map((customer, index) => ticketOf(hook, customer, index + 1));
  return hook.batchSize > 1 ? bundle(batchOf(tickets)) : single(tickets[0]!);
}

const ways = ["no proxy", ...PROXIES].flatMap((way) => [
  { way, scheme: "http" as const },
  { way, scheme: "https" as const },
]);

describe.each(ways)("through $way by $scheme", ({ way, scheme }) => {
  it.each(Object.entries(FORMATS))(
    "the bytes on the wire of a %s are those that were signed, by any method",
    async (_, format) => {
      const receiver = receivers[scheme];
      for (const method of METHODS) {
        for (const { symmetric, ed25519, ...signing } of KEYS) {
          const hook = webhook({
            ...format,
            ...signing,
            method,
            requestUrl: `${scheme}://localhost:${receiver.port}/hook?a=ä`,
            route: {
              proxy: world.proxies[way]?.url ?? "direct",
              // The HTTPS proxy's own certificate is from the same authority.
              tlsProfile: scheme === "https" || way === "an HTTPS proxy" ? "partner" : null,
              tlsMinVersion: "TLSv1.2",
            },
          });
          const parcel = parcelOf(hook);
          const { result } = await attempt(parcel, hook, {
            transport,
            keys: new KeyRing({ env: {}, folder: "/nowhere" }),
          });
          expect(result).toMatchObject({ kind: "response", statusCode: 204 });
          const got = receiver.requests.at(-1)!;
          expect(got).toMatchObject({ method, body: parcel.request.body });
          expect(got.headers).toMatchObject({
            "webhook-id": parcel.id,
            "content-type": parcel.request.contentType,
            "content-length": String(parcel.request.body.length),
          });
          expect(got.names).not.toContain("transfer-encoding");
          expectSigned(got, { symmetric, ed25519 });
          if (hook.payloadFormat !== "plain") {
            const message = { headers: got.headers, body: got.body.toString() };
            const events = [HTTP.toEvent(message)].flat() as CloudEvent[];
            expect(events.map((event) => event.validate())).toEqual(Array(hook.batchSize).fill(true));
          }
        }
      }
    },
  );
});
