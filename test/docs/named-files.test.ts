import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const pages = [
  ...readdirSync(ROOT).filter((name) => name.endsWith(".md")),
  ...readdirSync(`${ROOT}docs`)
    .filter((name) => name.endsWith(".md"))
    .map((name) => `docs/${name}`),
];

describe("a page of the documentation", () => {
  it.each(pages)("%s names no test and no source file that is not there", (page) => {
    const text = readFileSync(`${ROOT}${page}`, "utf8");
    const named = [...text.matchAll(/\b(?:test|src|torture|bench|demo|sql|docs)\/[\w./-]+\.(?:ts|mjs|sql|md|svg)\b/g)];
    expect(named.map(([path]) => path).filter((path) => !existsSync(`${ROOT}${path}`))).toEqual([]);
  });
});
