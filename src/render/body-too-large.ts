/** A rendered body is larger than what is sent. The message names the size, the limit and the remedy. */
export class BodyTooLargeError extends Error {
  override readonly name = "BodyTooLargeError";

  /**
   * @param size what the body has at least: rendering stops where that is clear
   * @param limit both in bytes
   */
  constructor(size: number, limit: number) {
    super(
      `the body would have ${size} bytes or more, and no more than ${limit} are sent; ` +
        "choose less of the row (webhook_data, webhook_json), or raise --max-body-bytes",
    );
  }
}

/** UTF-8 never takes fewer bytes than a text has UTF-16 units, so a text that is too long need not be encoded. */
export function checkLength(text: string, maxBytes: number): void {
  if (text.length > maxBytes) throw new BodyTooLargeError(text.length, maxBytes);
}

/** The body's bytes. Throws a `BodyTooLargeError`. */
export function encodeBody(text: string, maxBytes: number): Buffer {
  checkLength(text, maxBytes);
  const bytes = Buffer.from(text, "utf8");
  if (bytes.length > maxBytes) throw new BodyTooLargeError(bytes.length, maxBytes);
  return bytes;
}
