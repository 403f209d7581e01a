/** What a scenario found out: tables for people, goals for whoever decides. */
export interface Report {
  readonly tables: readonly Table[];
  readonly goals: readonly Goal[];
}

export interface Table {
  readonly title: string;
  /** Name and unit of each column. */
  readonly columns: readonly string[];
  readonly rows: readonly (readonly Cell[])[];
}

/** null: could not be measured. */
export type Cell = string | number | null;

export interface Goal {
  readonly what: string;
  readonly goal: string;
  readonly measured: string;
  readonly isMet: boolean;
}

/** A report as text: right-aligned numbers, then a line for each goal. */
export function formatReport({ tables, goals }: Report): string {
  const parts = tables.map(formatTable);
  if (goals.length > 0) {
    parts.push(
      goals.map((g) => `${g.isMet ? "met    " : "NOT MET"} ${g.what}: ${g.measured} (goal ${g.goal})`).join("\n"),
    );
  }
  return parts.join("\n\n");
}

function formatTable({ title, columns, rows }: Table): string {
  const cells = [columns, ...rows.map((row) => row.map(formatCell))];
  const widths = columns.map((_, index) => Math.max(...cells.map((row) => row[index]?.length ?? 0)));
  const isNumeric = columns.map((_, index) => rows.every((row) => typeof row[index] !== "string"));
  const lines = cells.map((row) =>
    row
      .map((cell, i) => (isNumeric[i] === true ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0)))
      .join("  "),
  );
  lines.splice(1, 0, widths.map((width) => "-".repeat(width)).join("  "));
  return [title, ...lines.map((line) => line.trimEnd())].join("\n");
}

/** A number with the digits that it deserves. */
export function formatCell(cell: Cell): string {
  if (cell === null) return "-";
  if (typeof cell === "string") return cell;
  if (Number.isInteger(cell)) return String(cell);
  return Math.abs(cell) >= 100 ? cell.toFixed(0) : Math.abs(cell) >= 10 ? cell.toFixed(1) : cell.toFixed(2);
}
