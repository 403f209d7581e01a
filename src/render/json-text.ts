import { type JsonTree, parseJsonTree } from "./json-tree.ts";

/** A value as JSON text, which is taken apart when somebody looks into it. */
export class JsonText {
  readonly text: string;
  #tree: JsonTree | undefined;

  constructor(text: string) {
    this.text = text;
  }

  get tree(): JsonTree {
    this.#tree ??= parseJsonTree(this.text);
    return this.#tree;
  }
}
