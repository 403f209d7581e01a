import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
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

  it.each(pages)("%s links to pages, and places in them, that are there", (page) => {
    const text = readFileSync(`${ROOT}${page}`, "utf8").replaceAll(/^```[^]*?^```/gm, "");
    const links = [...text.matchAll(/\]\((?!https?:|mailto:)([^)\s]+)\)/g)].map(([, link = ""]) => link);
    const broken = links.filter((link) => {
      const [path = "", place] = link.split("#");
      const target = path === "" ? page : normalize(join(dirname(page), path));
      if (!existsSync(`${ROOT}${target}`)) return true;
      return place !== undefined && !placesOf(readFileSync(`${ROOT}${target}`, "utf8")).has(place);
    });
    expect(broken).toEqual([]);
  });
});

/** The anchors of a page's headings, as GitHub makes them. */
function placesOf(text: string): ReadonlySet<string> {
  const headings = [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) => heading);
  return new Set(
    headings.map((heading) =>
      heading
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N}\p{M}_ -]/gu, "")
        .replaceAll(" ", "-"),
    ),
  );
}
