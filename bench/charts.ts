import type { Cell, Table } from "./report.ts";
import type { DatedResult } from "./result-file.ts";
import { svgChart, type Chart, type ChartRow } from "./svg-chart.ts";

/** The charts that the results have figures for, by file name. */
export function drawCharts(results: readonly DatedResult[]): ReadonlyMap<string, string> {
  const charts = new Map<string, string>();
  const draw = (file: string, name: string, chart: (result: DatedResult) => Chart | null): void => {
    const result = results.find((one) => one.name === name);
    const drawn = result === undefined ? null : chart(result);
    if (drawn !== null && drawn.rows.length > 0) charts.set(file, svgChart(drawn));
  };
  draw("deliveries.svg", "deliveries", (result) => rateChart(result, "Events delivered a second, signed and logged"));
  draw("latency.svg", "latency", (result) => latencyChart(result, "From the commit to the receipt"));
  draw("peers-deliveries.svg", "peers", (result) =>
    rateChart(result, "Events delivered a second, one a request: a burst"),
  );
  draw("peers-latency.svg", "peers", (result) => latencyChart(result, "From the commit to the receipt, 50 events/s"));
  return charts;
}

/** Of the first table with a column `events/s`. */
function rateChart(result: DatedResult, title: string): Chart | null {
  const table = tableWith(result, /^events\/s$/);
  if (table === null) return null;
  const rows = table.rows.flatMap((cells): ChartRow[] => {
    const rate = numberIn(table, cells, /^events\/s$/);
    const lost = numberIn(table, cells, /^lost$/) ?? 0;
    if (rate === null) return [];
    const killed = lostByKill(result, cells);
    const text = `${count(rate)}${lost > 0 ? ` (${count(lost)} lost)` : ""}${killed > 0 ? `, loses ${count(killed)} in a kill` : ""}`;
    return [{ label: String(cells[0]), values: [rate], text, role: roleOf(result, cells) }];
  });
  return { title, subtitle: `events/s, more is better · ${whence(result)}`, isLogarithmic: false, rows };
}

/** What the same one lost when it was killed, where that was tried. */
function lostByKill({ report }: DatedResult, [label]: readonly Cell[]): number {
  const table = report.tables.find(({ title }) => title.startsWith("killed"));
  const row = table?.rows.find(([other]) => other === label);
  return table === undefined || row === undefined ? 0 : (numberIn(table, row, /^lost$/) ?? 0);
}

/** Of the first table with columns `p50` and `p99`; in `latency` the loop's as well. */
function latencyChart(result: DatedResult, title: string): Chart | null {
  const table = tableWith(result, /^p50/);
  if (table === null) return null;
  const rows = table.rows.flatMap((cells): ChartRow[] => {
    const ours = range(table, cells, /^p50 \(?ms/, /^p99 \(?ms/);
    const loop = range(table, cells, /^loop p50/, /^loop p99/);
    const label = String(cells[0]);
    return [
      ...(ours === null
        ? []
        : [toRange(loop === null ? label : `Walhook, ${label}`, ours, loop === null ? roleOf(result, cells) : "ours")]),
      ...(loop === null ? [] : [toRange(`decode and post alone, ${label}`, loop, "limit")]),
    ];
  });
  return {
    title,
    subtitle: `ms (logarithmic), p50 (dot) to p99, less is better · ${whence(result)}`,
    isLogarithmic: true,
    rows,
  };
}

function toRange(label: string, values: readonly [number, number], role: ChartRow["role"]): ChartRow {
  return {
    label,
    values,
    text: values.map((value) => (value < 100 ? value.toFixed(1) : count(value))).join(" – "),
    role,
  };
}

function range(table: Table, cells: readonly Cell[], low: RegExp, high: RegExp): readonly [number, number] | null {
  const from = numberIn(table, cells, low);
  const to = numberIn(table, cells, high);
  return from === null || to === null ? null : [from, to];
}

function tableWith({ report }: DatedResult, column: RegExp): Table | null {
  return report.tables.find(({ columns }) => columns.some((name) => column.test(name))) ?? null;
}

function numberIn({ columns }: Table, cells: readonly Cell[], column: RegExp): number | null {
  const cell = cells[columns.findIndex((name) => column.test(name))];
  return typeof cell === "number" ? cell : null;
}

function roleOf({ name }: DatedResult, [label]: readonly Cell[]): ChartRow["role"] {
  if (/alone/.test(String(label))) return "limit";
  return name !== "peers" || /^walhook/i.test(String(label)) ? "ours" : "other";
}

function whence({ machine }: DatedResult): string {
  return `${machine.cores} cores, everything on one machine · ${machine.date.slice(0, 10)}`;
}

function count(value: number): string {
  return Math.round(value).toLocaleString("en");
}
