/**
 * Reads the text form of a Postgres composite value, `(1,,"a ""b""")`: one text an attribute, null for NULL
 * (nothing between the commas; an empty text is `""`). Throws a `SyntaxError` on anything else.
 * https://www.postgresql.org/docs/current/rowtypes.html#ROWTYPES-IO-SYNTAX
 */
export function parseCompositeLiteral(text: string): (string | null)[] {
  if (!text.startsWith("(") || !text.endsWith(")")) throw new SyntaxError("not a composite literal");
  const end = text.length - 1;
  const values: (string | null)[] = [];
  let at = 1;
  for (;;) {
    const start = at;
    let value = "";
    while (at < end && text[at] !== ",") {
      if (text[at] !== '"') {
        // Bare text never holds a character that Postgres would quote; a backslash is read anyway.
        value += text[at] === "\\" ? (text[++at] ?? "") : (text[at] as string);
        at++;
        continue;
      }
      at++;
      let from = at;
      for (;;) {
        const char = text[at];
        if (at >= end) throw new SyntaxError("a quoted attribute of a composite literal does not end");
        if (char === '"' && text[at + 1] !== '"') break;
        if (char === '"' || char === "\\") {
          value += text.slice(from, at);
          from = at + 1;
          at += 2;
        } else at++;
      }
      value += text.slice(from, at);
      at++;
    }
    values.push(at === start ? null : value);
    if (at >= end) return values;
    at++;
  }
}
