import type { SignatureFormat } from "../../match/webhook.ts";
import type { VerificationKey } from "./verification-key.ts";

/** A request as it came. */
export interface SignedRequest {
  /** By name in lower case. */
  readonly headers: Readonly<Record<string, string | undefined>>;
  /** The bytes that came, before any parser. */
  readonly body: Buffer;
}

export interface Terms {
  readonly keys: readonly VerificationKey[];
  /** The time that timestamps are compared with, in seconds since 1970. */
  readonly nowSeconds: number;
  /** How far a timestamp may be off, in seconds. */
  readonly toleranceSeconds: number;
}

/** What is to be said of one form of signature. */
export interface Finding {
  readonly ok: boolean;
  /** By what it is accepted, or why it is refused. */
  readonly reason: string;
}

/** The header that each form stands in. */
export const SIGNATURE_HEADERS: Readonly<Record<SignatureFormat, string>> = {
  standard: "webhook-signature",
  frappe: "x-frappe-webhook-signature",
  github: "x-hub-signature-256",
  stripe: "stripe-signature",
};
