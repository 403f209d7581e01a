import { JsonText } from "./json-text.ts";
import type { RowView } from "./row-view.ts";

/**
 * Steps that all templates of one request may take: a tag or an item of a list takes at least one. A body of 8 MiB that is made of
 * values needs less than half of them; all of them take about a fifth of a second, in which every other webhook waits. Without a bound five
 * sections inside each other, over a list of 200 items, take hours, and print nothing by which their length would end them.
 */
export const MAX_STEPS = 1_000_000;

/** A shorter text is read anew as fast as it is remembered. */
const LONG_TEXT = 64;

/** The templates of a request take more steps than `MAX_STEPS`. */
export class TemplateTooLongError extends Error {
  override readonly name = "TemplateTooLongError";

  constructor() {
    super(
      `the templates take more than ${MAX_STEPS} steps for this row (each tag and each item of a list is one); ` +
        "put fewer sections over long lists inside each other, or send the list as a whole: {{#json}}doc.items{{/json}}",
    );
  }
}

/** The rendering of one request: the steps that its templates have left, and what they have read. */
export class Rendering {
  #left = MAX_STEPS;
  /** Long values, which a section may ask for a million times, and each time they would be read from the beginning. */
  #long: Map<RowView, Map<string, JsonText>> | null = null;

  /** Throws a `TemplateTooLongError` where there are no more. */
  take(steps: number): void {
    this.#left -= steps;
    if (this.#left < 0) throw new TemplateTooLongError();
  }

  /** A column's value; undefined where there is no such column. Throws an `UnknownValueError`. */
  column(row: RowView, name: string): JsonText | undefined {
    const known = this.#long?.get(row)?.get(name);
    if (known !== undefined) return known;
    const json = row.json(name);
    if (json === undefined) return undefined;
    const text = new JsonText(json);
    if (json.length > LONG_TEXT) this.#remember(row, name, text);
    return text;
  }

  #remember(row: RowView, name: string, text: JsonText): void {
    this.#long ??= new Map();
    const ofRow = this.#long.get(row);
    if (ofRow === undefined) this.#long.set(row, new Map([[name, text]]));
    else ofRow.set(name, text);
  }
}
