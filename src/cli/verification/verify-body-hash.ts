import { accepted, decodeExactly, explainBody, isHmac, nameOfKey, refused, SHA256_BYTES } from "./signature-match.ts";
import type { Finding, SignedRequest, Terms } from "./signed-request.ts";

/**
 * Verifies a header that holds one HMAC-SHA256 over the body alone, keyed with the secret's text, behind `lead`:
 * Frappe's and GitHub's. Such a signature is valid for ever: it holds no time.
 */
export function verifyBodyHash(
  { headers, body }: SignedRequest,
  { keys }: Terms,
  header: string,
  lead: string,
  encoding: "base64" | "hex",
): Finding {
  const text = headers[header] ?? "";
  const given = text.startsWith(lead) ? decodeExactly(text.slice(lead.length), encoding, SHA256_BYTES) : null;
  if (given === null)
    return refused(`it is not ${lead}${lead === "" ? "" : " and "}${encoding} of ${SHA256_BYTES} bytes`);
  if (keys.every(({ kind }) => kind !== "symmetric")) return refused("it needs a symmetric secret, and none is given");
  const index = keys.findIndex((key) => key.kind === "symmetric" && isHmac(key.text, "", body, given));
  if (index >= 0) return accepted(`by ${nameOfKey(index, keys.length)}`);
  for (const key of keys) {
    if (key.kind !== "symmetric") continue;
    if (isHmac(key.standard, "", body, given))
      return refused("it was made with the secret's decoded bytes instead of its text");
    const why = explainBody(body, (other) => isHmac(key.text, "", other, given));
    if (why !== null) return refused(`it was made over another body: ${why}`);
  }
  return refused("it was made with another secret, or over another body");
}
