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
import { SIGNATURE_HEADERS, type Finding, type SignedRequest, type Terms } from "./signed-request.ts";

/**
 * Verifies `Stripe-Signature: t=<seconds>,v1=<hex>,…`: one of the `v1` must be the HMAC-SHA256 over
 * `<seconds>.<body>`, keyed with the text of one of the secrets, at a time that is not too far off.
 */
export function verifyStripe({ headers, body }: SignedRequest, terms: Terms): Finding {
  const { keys } = terms;
  const fields = (headers[SIGNATURE_HEADERS.stripe] ?? "").split(",").map((field) => {
    const at = field.indexOf("=");
    return { name: field.slice(0, Math.max(0, at)).trim(), value: field.slice(at + 1).trim() };
  });
  const timestamps = fields.filter(({ name }) => name === "t");
  if (timestamps.length !== 1) return refused("it has no t=<seconds>, or several");
  const timestamp = timestamps[0]!.value;
  const problem = timestampProblem(timestamp, terms);
  if (problem !== null) return refused(problem);
  const signatures = fields
    .filter(({ name }) => name === "v1")
    .map(({ value }) => decodeExactly(value, "hex", SHA256_BYTES))
    .filter((signature) => signature !== null);
  if (signatures.length === 0) return refused(`it has no v1= and hex of ${SHA256_BYTES} bytes`);
  if (keys.every(({ kind }) => kind !== "symmetric")) return refused("it needs a symmetric secret, and none is given");
  const fits = (index: number, bytes: Buffer): boolean => {
    const key = keys[index]!;
    return key.kind === "symmetric" && signatures.some((given) => isHmac(key.text, `${timestamp}.`, bytes, given));
  };
  const index = keys.findIndex((_, at) => fits(at, body));
  if (index >= 0) return accepted(`v1 by ${nameOfKey(index, keys.length)}`);
  const why = explainBody(body, (other) => keys.some((_, at) => fits(at, other)));
  if (why !== null) return refused(`it was made over another body: ${why}`);
  return refused("it was made with another secret, or over another time or body");
}
