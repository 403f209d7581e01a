/**
 * The stream holds what this decoder does not understand, or less than it should. Fatal: the same bytes come
 * again on the next connection, and guessing would lose or invent changes.
 */
export class DecodeError extends Error {
  override readonly name = "DecodeError";
  readonly code = "decode_failed";
  readonly hint = "Nothing is lost: the slot keeps everything from here on. Update Walhook, or report this message.";
}
