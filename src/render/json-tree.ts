import { jsonString } from "./json-string.ts";

/** A JSON number as its own digits. */
export class JsonNumber {
  readonly text: string;
  #isZero: boolean | undefined;

  constructor(text: string) {
    this.text = text;
  }

  /** Looked at once: it may have a million digits. */
  get isZero(): boolean {
    this.#isZero ??= /^[-0.]*(?:e.*)?$/i.test(this.text);
    return this.#isZero;
  }
}

/** JSON read without loss: numbers keep their digits, objects their order and any key. */
export type JsonTree = null | boolean | string | JsonNumber | readonly JsonTree[] | ReadonlyMap<string, JsonTree>;

/**
 * Reads JSON as `JSON.parse` does, but without loss. Of equal keys the last counts, as in jsonb.
 * Throws a `SyntaxError` that names line and column, and not more of the text than one character.
 */
export function parseJsonTree(text: string): JsonTree {
  return new JsonReader(text).read();
}

/** Writes a tree as compact JSON. */
export function stringifyJsonTree(tree: JsonTree): string {
  if (tree === null || typeof tree === "boolean") return String(tree);
  if (typeof tree === "string") return jsonString(tree);
  if (tree instanceof JsonNumber) return tree.text;
  if (isJsonArray(tree)) return `[${tree.map(stringifyJsonTree).join(",")}]`;
  return `{${[...tree].map(([key, value]) => `${jsonString(key)}:${stringifyJsonTree(value)}`).join(",")}}`;
}

export function isJsonArray(tree: unknown): tree is readonly JsonTree[] {
  return Array.isArray(tree);
}

const SPACE = /[ \t\n\r]*/y;
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const WORD = /true|false|null/y;

class JsonReader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  read(): JsonTree {
    const tree = this.#value();
    this.#match(SPACE);
    if (this.#at < this.#text.length) throw this.#error();
    return tree;
  }

  #value(): JsonTree {
    this.#match(SPACE);
    switch (this.#text.charAt(this.#at)) {
      case "{":
        return this.#object();
      case "[":
        return this.#array();
      case '"':
        return this.#string();
      case "t":
      case "f":
      case "n": {
        const word = this.#match(WORD);
        if (word === null) throw this.#error();
        return word === "null" ? null : word === "true";
      }
      default: {
        const number = this.#match(NUMBER);
        if (number === null) throw this.#error();
        return new JsonNumber(number);
      }
    }
  }

  #object(): ReadonlyMap<string, JsonTree> {
    const object = new Map<string, JsonTree>();
    this.#at++;
    if (this.#skip("}")) return object;
    for (;;) {
      this.#match(SPACE);
      const key = this.#string();
      if (!this.#skip(":")) throw this.#error();
      object.set(key, this.#value());
      if (this.#skip("}")) return object;
      if (!this.#skip(",")) throw this.#error();
    }
  }

  #array(): readonly JsonTree[] {
    const array: JsonTree[] = [];
    this.#at++;
    if (this.#skip("]")) return array;
    for (;;) {
      array.push(this.#value());
      if (this.#skip("]")) return array;
      if (!this.#skip(",")) throw this.#error();
    }
  }

  #string(): string {
    const start = this.#at;
    if (this.#text[start] !== '"') throw this.#error();
    let end = start + 1;
    while (this.#text[end] !== '"') {
      if (end >= this.#text.length) {
        this.#at = this.#text.length;
        throw this.#error();
      }
      end += this.#text[end] === "\\" ? 2 : 1;
    }
    try {
      const string = JSON.parse(this.#text.slice(start, end + 1)) as string;
      this.#at = end + 1;
      return string;
    } catch {
      // A bad escape or a raw control character inside.
      throw this.#error();
    }
  }

  /** Steps over white space and this character, if it is there. */
  #skip(char: string): boolean {
    this.#match(SPACE);
    if (this.#text[this.#at] !== char) return false;
    this.#at++;
    return true;
  }

  #match(pattern: RegExp): string | null {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.#text);
    if (match === null) return null;
    this.#at = pattern.lastIndex;
    return match[0];
  }

  #error(): SyntaxError {
    const before = this.#text.slice(0, this.#at).split("\n");
    const place = `line ${before.length}, column ${(before.at(-1) as string).length + 1}`;
    const char = this.#text.codePointAt(this.#at);
    if (char === undefined) return new SyntaxError(`it ends too early, at ${place}`);
    return new SyntaxError(`unexpected ${JSON.stringify(String.fromCodePoint(char))} at ${place}`);
  }
}
