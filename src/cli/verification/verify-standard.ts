import { verify } from "node:crypto";
import {
  accepted,
  decodeExactly,
  explainBody,
  isHmac,
  nameOfKey,
  refused,
  SHA256_BYTES,
  timestampProblem,
} from "./signature-match.ts";
import type { VerificationKey } from "./verification-key.ts";
import type { Finding, SignedRequest, Terms } from "./signed-request.ts";

const ED25519_BYTES = 64;

/** One `<version>,<base64>` of the list. */
interface Entry {
  readonly version: "v1" | "v1a";
  readonly signature: Buffer;
}

/**
 * Verifies `webhook-signature` of Standard Webhooks 1.0.0: one of its entries must be made by one of the keys over
 * `<id>.<timestamp>.<body>`, at a time that is not too far off. Entries of other versions are passed over.
 */
export function verifyStandard({ headers, body }: SignedRequest, terms: Terms): Finding {
  for (const name of ["webhook-id", "webhook-timestamp", "webhook-signature"]) {
    if ((headers[name] ?? "") === "") return refused(`the header ${name} is missing`);
  }
  const timestamp = headers["webhook-timestamp"]!;
  const problem = timestampProblem(timestamp, terms);
  if (problem !== null) return refused(problem);
  const entries: Entry[] = [];
  const passed: string[] = [];
  for (const text of headers["webhook-signature"]!.split(" ")) {
    const entry = parseEntry(text);
    if (typeof entry === "string") passed.push(entry);
    else entries.push(entry);
  }
  const prefix = `${headers["webhook-id"]!}.${timestamp}.`;
  for (const entry of entries) {
    const index = terms.keys.findIndex((key) => isMadeBy(key, entry, prefix, body));
    if (index >= 0) return accepted(`${entry.version} by ${nameOfKey(index, terms.keys.length)}`);
  }
  return refused([...new Set([...entries.map((entry) => mismatch(entry, prefix, body, terms)), ...passed])].join("; "));
}

function parseEntry(text: string): Entry | string {
  const comma = text.indexOf(",");
  if (comma < 0) return `${JSON.stringify(text)} is not <version>,<signature>`;
  const version = text.slice(0, comma);
  if (version !== "v1" && version !== "v1a") return `version ${JSON.stringify(version)} is not known`;
  const bytes = version === "v1" ? SHA256_BYTES : ED25519_BYTES;
  const signature = decodeExactly(text.slice(comma + 1), "base64", bytes);
  return signature === null ? `what follows ${version} is not base64 of ${bytes} bytes` : { version, signature };
}

function isMadeBy(key: VerificationKey, { version, signature }: Entry, prefix: string, body: Buffer): boolean {
  if (key.kind === "symmetric") return version === "v1" && isHmac(key.standard, prefix, body, signature);
  return version === "v1a" && verify(null, Buffer.concat([Buffer.from(prefix), body]), key.key, signature);
}

function mismatch(entry: Entry, prefix: string, body: Buffer, { keys }: Terms): string {
  const { version, signature } = entry;
  const kind = version === "v1" ? "symmetric" : "ed25519";
  const candidates = keys.filter((key) => key.kind === kind);
  if (candidates.length === 0) {
    return `${version} needs ${version === "v1" ? "a symmetric secret" : "a public key (whpk_)"}, and none is given`;
  }
  const why = explainBody(body, (other) => candidates.some((key) => isMadeBy(key, entry, prefix, other)));
  if (why !== null) return `${version} was made over another body: ${why}`;
  for (const key of candidates) {
    if (key.kind !== "symmetric") continue;
    if (isHmac(key.text, prefix, body, signature))
      return "v1 was made with the secret's text instead of its decoded bytes";
    if (isHmac(key.standard, "", body, signature)) return "v1 was made over the body alone, without id and timestamp";
  }
  return `${version} was made with another key, or over another id, timestamp or body`;
}
