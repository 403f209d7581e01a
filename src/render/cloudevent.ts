import type { DocEvent } from "../events/doc-event.ts";
import { envelopeType } from "./envelope.ts";
import { eventFacts } from "./event-facts.ts";
import { jsonString } from "./json-string.ts";

/** Media types of structured mode. https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md */
export const CLOUDEVENT_TYPE = "application/cloudevents+json";
export const CLOUDEVENT_BATCH_TYPE = "application/cloudevents-batch+json";

/** Names and values of a CloudEvent's context attributes, in order; `datacontenttype` is the body's Content-Type. */
export type CloudeventAttributes = readonly (readonly [name: string, value: string])[];

/** As a header it has up to nine times as many characters, and servers take 8 KiB of one (nginx, Apache). */
const MAX_SUBJECT_CHARACTERS = 800;
/** Control characters and what Unicode calls noncharacters: CloudEvents 1.0.2 section 3.1 has none in a String. */
// oxlint-disable-next-line no-control-regex
const NO_STRING = /[\u0000-\u001f\u007f-\u009f]|\p{Noncharacter_Code_Point}|\p{Surrogate}/u;

/**
 * The attributes of an event: CloudEvents 1.0.2 section 3, and the extensions `lsn` and `xid`. `subject` is the
 * document's name, left out where there is none, where it is empty or too long for a header, and where it holds
 * characters that no attribute may hold; the data has it in any case.
 * @param id the delivery's
 */
export function cloudeventAttributes(event: DocEvent, id: string, source: string): CloudeventAttributes {
  const { docname } = event;
  const { lsn, xid, commitTime } = eventFacts(event);
  const attributes: [string, string][] = [
    ["specversion", "1.0"],
    ["id", id],
    ["source", source],
    ["type", envelopeType(event)],
    ["time", commitTime],
  ];
  if (docname !== null && docname !== "" && docname.length <= MAX_SUBJECT_CHARACTERS && !NO_STRING.test(docname)) {
    attributes.push(["subject", docname]);
  }
  // Texts: a transaction id may exceed the 32 bits of an Integer.
  attributes.push(["lsn", lsn], ["xid", String(xid)]);
  return attributes;
}

/** Structured mode: the event as one JSON object. */
export function cloudeventJson(attributes: CloudeventAttributes, data: string): string {
  let json = "{";
  for (const [name, value] of attributes) json += `"${name}":${jsonString(value)},`;
  return `${json}"datacontenttype":"application/json","data":${data}}`;
}

/**
 * Binary mode: the attributes as headers, what is no printable ASCII percent-encoded, as are space, double quote and
 * percent sign. https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md#3132-http-header-values
 */
export function cloudeventHeaders(attributes: CloudeventAttributes): [string, string][] {
  return attributes.map(([name, value]) => [`ce-${name}`, value.replaceAll(NEEDS_ENCODING, encodeURIComponent)]);
}

const NEEDS_ENCODING = /[^!#$&-~]+/gu;
