/**
 * A text from outside as a terminal may show it: line feeds and tabs stay, every other character that controls or
 * turns text is written as its code, so that nobody's request moves the cursor or changes colours.
 */
export function printable(text: string): string {
  return text.replaceAll(/(?![\n\t])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (character) => {
    return `\\u{${character.codePointAt(0)!.toString(16)}}`;
  });
}
