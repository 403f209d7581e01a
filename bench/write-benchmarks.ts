import { mkdir, writeFile } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { drawCharts } from "./charts.ts";
import { readResults } from "./result-file.ts";
import { resultsDocument } from "./results-document.ts";

/** Writes `docs/benchmarks.md` and its charts from result files; where a scenario is in several, from the last. */
export async function writeBenchmarks(root: string, files: readonly string[]): Promise<readonly string[]> {
  const results = await readResults(files);
  const charts = drawCharts(results);
  await mkdir(join(root, "docs", "charts"), { recursive: true });
  const written: string[] = [];
  for (const [name, svg] of charts) {
    written.push(join("docs", "charts", name));
    await writeFile(join(root, "docs", "charts", name), svg);
  }
  const page = resultsDocument(
    results,
    files.map((file) => relative(root, resolve(file))),
    [...charts.keys()].map((name) => `charts/${name}`),
  );
  await writeFile(join(root, "docs", "benchmarks.md"), page);
  return [...written, join("docs", "benchmarks.md")];
}
