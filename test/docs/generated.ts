import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

/** A page of docs/. */
export function pageUrl(name: string): string {
  return fileURLToPath(new URL(`../../docs/${name}`, import.meta.url));
}

/**
 * A page as it should be: the text between `<!-- generated: NAME -->` and `<!-- end -->` replaced for each NAME. The rest
 * is written by hand. `npm run docs:sql` writes the page.
 */
export async function pageWith(name: string, parts: Readonly<Record<string, string>>): Promise<string> {
  let text = await readFile(pageUrl(name), "utf8");
  for (const [part, content] of Object.entries(parts)) {
    const start = `<!-- generated: ${part} -->\n`;
    const from = text.indexOf(start);
    const to = text.indexOf("<!-- end -->", from);
    if (from < 0 || to < 0) throw new Error(`docs/${name} has no place for "${part}"`);
    text = `${text.slice(0, from + start.length)}\n${content}\n\n${text.slice(to)}`;
  }
  return text;
}

/** A table in Markdown. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|").replaceAll("\n", " ")).join(" | ")} |`;
  return [line(head), `|${"---|".repeat(head.length)}`, ...rows.map(line)].join("\n");
}
