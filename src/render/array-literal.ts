/** An array as Postgres wrote it: elements' texts, null for NULL, nested for further dimensions. */
export type ArrayLiteral = readonly (string | null | ArrayLiteral)[];

/**
 * Reads the text form of a Postgres array: `{1,NULL,"a \"b\""}`, with nested braces for dimensions, with
 * bounds before it (`[0:1]={1,2}`), or of a vector type (`1 2 3`). Throws a `SyntaxError` on anything else.
 * https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO
 */
export function parseArrayLiteral(text: string, delimiter: string): ArrayLiteral {
  if (text.startsWith("{")) return new ArrayReader(text, 0, delimiter).read();
  if (text.startsWith("[")) return new ArrayReader(text, text.indexOf("=") + 1, delimiter).read();
  return text === "" ? [] : text.split(" ");
}

class ArrayReader {
  readonly #text: string;
  readonly #delimiter: string;
  #at: number;

  constructor(text: string, at: number, delimiter: string) {
    this.#text = text;
    this.#at = at;
    this.#delimiter = delimiter;
  }

  read(): ArrayLiteral {
    const array = this.#array();
    if (this.#at !== this.#text.length) throw this.#error();
    return array;
  }

  #array(): ArrayLiteral {
    if (this.#text[this.#at] !== "{") throw this.#error();
    this.#at++;
    const elements: (string | null | ArrayLiteral)[] = [];
    if (this.#text[this.#at] === "}") {
      this.#at++;
      return elements;
    }
    for (;;) {
      elements.push(this.#element());
      const next = this.#text[this.#at++];
      if (next === "}") return elements;
      if (next !== this.#delimiter) throw this.#error();
    }
  }

  #element(): string | null | ArrayLiteral {
    const first = this.#text[this.#at];
    if (first === "{") return this.#array();
    if (first === '"') return this.#quoted();
    const start = this.#at;
    // Whatever is special inside an element makes Postgres quote it, so a bare one ends at the next of these.
    while (this.#at < this.#text.length && this.#text[this.#at] !== this.#delimiter && this.#text[this.#at] !== "}") {
      this.#at++;
    }
    const bare = this.#text.slice(start, this.#at);
    // A text that reads NULL is quoted.
    return bare === "NULL" ? null : bare;
  }

  #quoted(): string {
    const text = this.#text;
    let start = this.#at + 1;
    let result = "";
    for (let at = start; at < text.length; at++) {
      if (text[at] === '"') {
        this.#at = at + 1;
        return result + text.slice(start, at);
      }
      if (text[at] === "\\") {
        result += text.slice(start, at);
        start = ++at;
      }
    }
    this.#at = text.length;
    throw this.#error();
  }

  #error(): SyntaxError {
    return new SyntaxError(`not an array literal at character ${this.#at + 1}`);
  }
}
