import type { DocEventName } from "../events/doc-event.ts";

/** How a request's body is encoded. */
export type RequestStructure = "JSON" | "Form URL-Encoded";

/** How a body goes on the wire: by itself, or as the data of a CloudEvent. */
export type PayloadFormat = "plain" | "cloudevents-structured" | "cloudevents-binary";

export type RequestMethod = "POST" | "PUT" | "PATCH" | "DELETE";

/** A compiled condition: where its function is and what it reads. */
export interface Condition {
  /** Name of the author's function in schema `walhook_condition`, as text arrays in, boolean array out. */
  readonly functionName: string;
  /** The columns the condition could read, in the order of the composite literals passed to it. */
  readonly columns: readonly string[];
  readonly usesOld: boolean;
  /** Whether its function answers NULL where the condition is NULL; those that earlier versions made say FALSE. */
  readonly tellsNull: boolean;
}

/** A form of signature: the headers of Standard Webhooks, of Frappe, of GitHub, of Stripe. */
export type SignatureFormat = "standard" | "frappe" | "github" | "stripe";

/** A signing secret as it is configured. */
export interface Secret {
  /** The secret itself; of a reference `env:NAME` or `file:PATH`, where it is found. */
  readonly text: string;
  readonly kind: "symmetric" | "ed25519" | "reference";
  /** From then on nothing is signed with it, in milliseconds since 1970; null: never. */
  readonly expiresAtMs: number | null;
  /** Its number in `walhook.signing_key`; null: as an earlier version stored it. */
  readonly id: string | null;
}

/** How a webhook's requests leave. */
export interface Route {
  /** URL of its proxy; `direct`: none; null: what the bridge's environment says. */
  readonly proxy: string | null;
  /** Name of the operator's certificates for it; null: the usual authorities, and none of our own. */
  readonly tlsProfile: string | null;
  readonly tlsMinVersion: "TLSv1.2" | "TLSv1.3";
}

/** How much of bodies its log rows keep, in bytes; null: all that there is. */
export interface Kept {
  readonly requestBytes: number | null;
  readonly responseBytes: number | null;
}

/** A webhook as it is in force at some position of the stream. Immutable: a change makes a new one. */
export interface Webhook {
  /** Its immutable number. */
  readonly id: number;
  readonly name: string;
  readonly doctypeOid: number;
  readonly events: readonly DocEventName[];
  readonly enabled: boolean;
  /** Its events are matched and wait in the queue. */
  readonly isPaused: boolean;
  readonly condition: Condition | null;
  readonly requestUrl: string;
  readonly isDynamicUrl: boolean;
  readonly method: RequestMethod;
  readonly structure: RequestStructure;
  readonly payloadFormat: PayloadFormat;
  /** The attribute `source` of its CloudEvents; empty where it sends none. */
  readonly cloudeventsSource: string;
  /** By which name its receiver is asked for consent before anything is sent; null: it is not asked. */
  readonly handshakeOrigin: string | null;
  /** Mustache template of the body, or null. */
  readonly template: string | null;
  /** Column and key pairs of the body, in order; empty: none chosen. */
  readonly data: readonly { readonly fieldname: string; readonly key: string }[];
  readonly headers: readonly { readonly key: string; readonly value: string }[];
  readonly timeoutMs: number;
  /** The delays before each further attempt; null: the bridge's default. */
  readonly retryScheduleMs: readonly number[] | null;
  /** Whether deliveries for one document leave in commit order, one at a time. */
  readonly isOrdered: boolean;
  /** What becomes of a document's later deliveries when one was given up. */
  readonly onExhausted: "continue" | "hold";
  /** Events that one request may carry; 1: each goes by itself, not in an array. */
  readonly batchSize: number;
  /** How long an event may wait for others while a request is under way; 0: until that request ends. */
  readonly batchWindowMs: number;
  /** Requests a second at most; null: no limit. */
  readonly rateLimit: number | null;
  /** After so long without a success it is disabled; null: never. */
  readonly disableAfterMs: number | null;
  readonly route: Route;
  readonly kept: Kept;
  /** Whether it is written down when its condition does not hold. */
  readonly logsDecisions: boolean;
  /** What its requests are signed with, side by side, oldest first; none where `enable_security` is off. */
  readonly secrets: readonly Secret[];
  readonly signatureFormats: readonly SignatureFormat[];
}
