import { isMap, isScalar, isSeq, LineCounter, parseDocument, type Node, type Pair as YamlPair } from "yaml";
import { EXIT_CODES, WalhookError } from "../../errors.ts";
import { suggest } from "../suggest.ts";
import type { Pair, Value } from "./stored-webhook.ts";

/** A webhook as a file has it. */
export interface WantedWebhook {
  readonly name: string;
  /** The columns that it names. */
  readonly columns: Readonly<Record<string, Value>>;
  readonly headers: readonly Pair[];
  readonly data: readonly Pair[];
  /** A reference; null: none is named. */
  readonly secret: string | null;
  /** Lines of the file, by key; that of `name` stands for the whole. */
  readonly lines: Readonly<Record<string, number>>;
}

/**
 * Reads a file of webhooks.
 * @param file its name, for errors
 * @param known the columns that it may name
 * @throws WalhookError `bad_file` (exit code 2) that begins with `file:line:`
 */
export function readWebhooks(text: string, file: string, known: readonly string[]): readonly WantedWebhook[] {
  const counter = new LineCounter();
  const document = parseDocument(text, { lineCounter: counter, uniqueKeys: true, prettyErrors: false });
  const lineAt = (offset: number | undefined): number => counter.linePos(offset ?? 0).line;
  const lineOf = (node: unknown): number => lineAt((node as Node | null)?.range?.[0]);
  const fail = (line: number, message: string, hint: string): never => {
    throw fileError(file, line, message, hint);
  };
  const [problem] = [...document.errors, ...document.warnings];
  if (problem !== undefined) fail(lineAt(problem.pos[0]), problem.message, "The file must be YAML 1.2, one document.");
  const top = document.contents;
  if (!isMap(top)) return fail(1, "the file is no mapping", "It begins with `webhooks:`; `walhook export` prints one.");
  for (const { key } of top.items) {
    if (textOf(key) !== "webhooks") fail(lineOf(key), `"${textOf(key)}" is not known`, "There is `webhooks` alone.");
  }
  const list = top.get("webhooks", true);
  if (!isSeq(list)) return fail(lineOf(list ?? top), "webhooks is no list", "Each webhook begins with `- name:`.");

  const names = new Map<string, number>();
  return list.items.map((item) => {
    if (!isMap(item)) return fail(lineOf(item), "a webhook is a mapping", "It begins with `- name:`.");
    const columns: Record<string, Value> = {};
    const lines: Record<string, number> = {};
    let headers: readonly Pair[] = [];
    let data: readonly Pair[] = [];
    let secret: string | null = null;
    for (const { key, value } of item.items as YamlPair<Node, Node | null>[]) {
      const name = textOf(key);
      const line = (lines[name] = lineOf(key));
      const plain = value === null ? null : (value.toJS(document) as Value);
      if (name === "name") continue;
      if (name === "headers" || name === "data") {
        const pairs = pairsOf(plain);
        if (pairs === null)
          return fail(
            line,
            `${name} is no list of one name and one text each`,
            `For example ${name}: [{a: b}], or ${name}: {a: b}.`,
          );
        if (name === "headers") headers = pairs;
        else data = pairs;
      } else if (name === "webhook_secret") {
        if (plain !== null && (typeof plain !== "string" || !/^(env|file):/.test(plain))) {
          fail(
            line,
            "webhook_secret is not a reference",
            "Secrets do not stand in files: write env:WALHOOK_SECRET_… or file:…, which the bridge reads.",
          );
        }
        secret = plain as string | null;
      } else if (known.includes(name)) {
        // A list of events reads better than one text.
        columns[name] = name === "webhook_docevent" && Array.isArray(plain) ? plain.join(", ") : plain;
      } else {
        const nearest = suggest(name, [...known, "name", "webhook_secret", "headers", "data"]);
        fail(
          line,
          `a webhook has no "${name}"`,
          nearest === null ? "\\d+ walhook.webhook describes its columns." : `Did you mean ${nearest}?`,
        );
      }
    }
    const name: unknown = item.get("name");
    const line = lines["name"] ?? lineOf(item);
    if (typeof name !== "string")
      return fail(line, "a webhook has no name", "Write `- name: new-order`; a number in quotes.");
    const former = names.get(name);
    if (former !== undefined) fail(line, `there are two webhooks "${name}"`, `The other one stands in line ${former}.`);
    names.set(name, line);
    for (const needed of ["webhook_doctype", "webhook_docevent", "request_url"]) {
      if (columns[needed] === undefined)
        fail(
          line,
          `webhook "${name}": ${needed} is missing`,
          "It needs name, webhook_doctype, webhook_docevent and request_url.",
        );
    }
    return { name, columns, headers, data, secret, lines: { ...lines, name: line } };
  });
}

/** An error of a file, as compilers write it. */
export function fileError(
  file: string,
  line: number,
  message: string,
  hint: string | null,
  cause?: unknown,
): WalhookError {
  return new WalhookError(`${file}:${line}: ${message}`, { code: "bad_file", exitCode: EXIT_CODES.usage, hint, cause });
}

function textOf(key: unknown): string {
  return isScalar(key) ? String(key.value) : String(key);
}

/** `[{a: b}, {c: d}]` or `{a: b, c: d}`, in order. */
function pairsOf(value: unknown): readonly Pair[] | null {
  const maps: readonly unknown[] = Array.isArray(value) ? value : [value];
  const pairs: Pair[] = [];
  for (const map of maps) {
    if (typeof map !== "object" || map === null) return null;
    for (const [key, text] of Object.entries(map as Record<string, unknown>)) {
      if (typeof text !== "string" && typeof text !== "number") return null;
      pairs.push([key, String(text)]);
    }
  }
  return pairs;
}
