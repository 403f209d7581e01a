import { usageError } from "./input.ts";

/**
 * Headers from a text: a line for each, `Name: value`, as `curl -v` shows and HTTP carries them, or one JSON
 * object. A request line is passed over.
 * @returns by name in lower case
 */
export function parseHeaders(text: string): Record<string, string> {
  const headers: Record<string, string> = {};
  if (text.trimStart().startsWith("{")) {
    for (const [name, value] of Object.entries(parseObject(text))) headers[name.toLowerCase()] = String(value);
    return headers;
  }
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === "" || (index === 0 && /^[A-Z]+ \S+ HTTP\/\d/.test(line))) continue;
    const colon = line.indexOf(":");
    if (colon <= 0) throw usageError(`"${line}" is not a header`, "Write one a line, as name: value.");
    headers[line.slice(0, colon).trim().toLowerCase()] = line.slice(colon + 1).trim();
  }
  return headers;
}

function parseObject(text: string): object {
  try {
    return JSON.parse(text) as object;
  } catch (error) {
    throw usageError(
      `the headers are not JSON: ${String(error)}`,
      'Write {"name": "value"}, or one a line, as name: value.',
    );
  }
}

/** A request as it went over the wire: head, an empty line, and the body's bytes. */
export function splitRequest(bytes: Buffer): { readonly head: string; readonly body: Buffer } {
  for (const separator of ["\r\n\r\n", "\n\n"]) {
    const at = bytes.indexOf(separator);
    if (at >= 0) return { head: bytes.toString("latin1", 0, at), body: bytes.subarray(at + separator.length) };
  }
  throw usageError("the request has no empty line between its head and its body", "Give it as it came over the wire.");
}
