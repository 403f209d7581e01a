import type { SignatureFormat } from "../../match/webhook.ts";
import { SIGNATURE_HEADERS, type Finding, type SignedRequest, type Terms } from "./signed-request.ts";
import { verifyBodyHash } from "./verify-body-hash.ts";
import { verifyStandard } from "./verify-standard.ts";
import { verifyStripe } from "./verify-stripe.ts";

const VERIFIERS: Readonly<Record<SignatureFormat, (request: SignedRequest, terms: Terms) => Finding>> = {
  standard: verifyStandard,
  frappe: (request, terms) => verifyBodyHash(request, terms, SIGNATURE_HEADERS.frappe, "", "base64"),
  github: (request, terms) => verifyBodyHash(request, terms, SIGNATURE_HEADERS.github, "sha256=", "hex"),
  stripe: verifyStripe,
};

/** Verifies every form of signature that a request carries, by the name of its header. Empty: it carries none. */
export function verifySignatures(request: SignedRequest, terms: Terms): ReadonlyMap<string, Finding> {
  const findings = new Map<string, Finding>();
  for (const [format, header] of Object.entries(SIGNATURE_HEADERS)) {
    if (request.headers[header] === undefined) continue;
    findings.set(header, VERIFIERS[format as SignatureFormat](request, terms));
  }
  return findings;
}
