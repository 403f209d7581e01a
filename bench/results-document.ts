import { formatCell, type Cell, type Table } from "./report.ts";
import type { DatedResult } from "./result-file.ts";

/**
 * The page with all figures, as Markdown.
 * @param files where the results are, from the root of the checkout
 * @param charts file names of the charts beside the page, by what they show
 */
export function resultsDocument(
  results: readonly DatedResult[],
  files: readonly string[],
  charts: Iterable<string>,
): string {
  const [first] = results;
  if (first === undefined) throw new Error("there are no results");
  const { machine } = first;
  const drawn = [...charts];
  return `# Benchmarks

<!-- Written by \`npm run bench -- --charts FILE\`; edit bench/results-document.ts instead. -->

Every figure here is from ${files.map((file) => `[${file}](../${file})`).join(", ")}. Repeat it, on a machine with nothing else to do:

\`\`\`sh
npm ci
npm run bench                                          # all of it, in under 20 minutes; --quick: a first look, in under 2
npm run bench -- deliveries latency                    # some of it; --help: names and sizes
npm run bench -- --out result.json                     # keep the figures
npm run bench -- --charts result.json                  # draw the charts and write this page
npm run bench -- peers                                 # what others use; bench/peers/*/install.sh first
\`\`\`

The first one was measured on ${machine.date.slice(0, 10)}: ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGb} GB, ${machine.system}, Node ${machine.node},
Walhook ${machine.walhook}. PostgreSQL, the bridge, the receiver and whoever writes share the machine. Each scenario runs its limit (what the same work costs with nothing
else) in the same run, in turn; figures are medians of the rounds, ratios are those of the rounds.

${drawn.map((file) => `![${altOf(file)}](${file})`).join("\n\n")}

## Goals

| scenario | what | goal | measured | |
|---|---|---|---|---|
${results
  .flatMap(({ name, report }) =>
    report.goals.map(
      ({ what, goal, measured, isMet }) =>
        `| ${name} | ${cell(what)} | ${cell(goal)} | ${cell(measured)} | ${isMet ? "met" : "**not met**"} |`,
    ),
  )
  .join("\n")}

${results.map((result) => section(result, machine.date)).join("\n\n")}
`;
}

function section({ name, summary, options, report, machine }: DatedResult, firstDate: string): string {
  const flags = Object.entries(options)
    .map(([flag, value]) => `--${flag} ${value}`)
    .join(" ");
  const when =
    machine.date === firstDate ? "" : ` Measured on ${machine.date.slice(0, 10)}, Walhook ${machine.walhook}.`;
  return [
    `## ${name}`,
    `${capital(summary)}.${when}`,
    `\`npm run bench -- ${name} ${flags}\``,
    ...report.tables.map(table),
  ].join("\n\n");
}

function table({ title, columns, rows }: Table): string {
  if (columns.length === 0) return `${capital(title)}.`;
  const isNumeric = columns.map((_, index) => rows.every((row) => typeof row[index] !== "string"));
  return [
    `${capital(title)}:`,
    "",
    `| ${columns.map(cell).join(" | ")} |`,
    `|${isNumeric.map((numeric) => (numeric ? "---:" : "---")).join("|")}|`,
    ...rows.map((row) => `| ${row.map((value) => cell(grouped(value))).join(" | ")} |`),
  ].join("\n");
}

/** 12345 as 12,345. */
function grouped(value: Cell): string {
  const text = formatCell(value);
  return typeof value === "number" && Math.abs(value) >= 10_000 ? Math.round(value).toLocaleString("en") : text;
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("\n", " ");
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function altOf(file: string): string {
  return file.replace(/^.*\//, "").replace(".svg", "").replaceAll("-", " ");
}
