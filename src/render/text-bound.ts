/** Twice what servers take of a request line, or of a header, by default (nginx, Apache: 8 KiB). */
const MAX_CHARACTERS = 16 * 1024;
/** White space at the ends is taken away, so it is only beyond this that a text is clearly too long. */
const CLEARLY_TOO_LONG = 1024 * 1024;

/** Throws a `SyntaxError` for a URL or header that is too long. `what`: how the error calls it. */
export function checkCharacters(what: string, text: string): void {
  if (text.length > MAX_CHARACTERS) {
    throw new SyntaxError(`${what} has ${text.length} characters, at most ${MAX_CHARACTERS} are sent`);
  }
}

/** The same while it is being rendered: throws where nothing that follows can help. */
export function checkGrowing(what: string, text: string): void {
  if (text.length > CLEARLY_TOO_LONG) {
    throw new SyntaxError(`${what} has ${text.length} characters or more, at most ${MAX_CHARACTERS} are sent`);
  }
}
