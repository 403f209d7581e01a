/** One line of a chart. */
export interface ChartRow {
  readonly label: string;
  /** One value: a bar from 0. Two, where the axis is logarithmic: a line from the first to the second. */
  readonly values: readonly [number] | readonly [number, number];
  /** What is written behind it. */
  readonly text: string;
  /** `ours` stands out; `limit` is what nobody can exceed. */
  readonly role: "ours" | "other" | "limit";
}

export interface Chart {
  readonly title: string;
  /** Unit, and where and when it was measured. */
  readonly subtitle: string;
  readonly isLogarithmic: boolean;
  readonly rows: readonly ChartRow[];
}

const WIDTH = 900;
/** For the longest label there is, of 52 characters. */
const LABEL_WIDTH = 350;
const TEXT_WIDTH = 210;
const ROW_HEIGHT = 30;
const TOP = 64;
const BOTTOM = 30;
const FONT = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif";

/** Without a background, in colours that can be read on white and on black. */
const STYLE = `
    text { font: 13px ${FONT}; fill: #1f2328; }
    .title { font-size: 16px; font-weight: 600; }
    .soft { fill: #59636e; font-size: 12px; }
    .ours { fill: #0969da; stroke: #0969da; }
    .other { fill: #8c959f; stroke: #8c959f; }
    .limit { fill: #bf8700; stroke: #bf8700; }
    .grid { stroke: #818b98; stroke-opacity: 0.3; }
    @media (prefers-color-scheme: dark) {
      text { fill: #f0f6fc; }
      .soft { fill: #9198a1; }
      .ours { fill: #4493f8; stroke: #4493f8; }
      .other { fill: #6e7681; stroke: #6e7681; }
      .limit { fill: #d29922; stroke: #d29922; }
    }`;

/** A chart of horizontal bars, or of ranges, as an SVG document. */
export function svgChart({ title, subtitle, isLogarithmic, rows }: Chart): string {
  const values = rows.flatMap((row) => row.values).filter((value) => value > 0);
  const { ticks, place } = isLogarithmic ? logarithmicAxis(values) : linearAxis(values);
  const height = TOP + rows.length * ROW_HEIGHT + BOTTOM;
  const bottom = height - BOTTOM;
  const parts = [
    `<text x="0" y="18" class="title">${escape(title)}</text>`,
    `<text x="0" y="38" class="soft">${escape(subtitle)}</text>`,
    ...ticks.map((tick) => {
      const x = place(tick).toFixed(1);
      return `<line class="grid" x1="${x}" x2="${x}" y1="${TOP - 8}" y2="${bottom}"/><text class="soft" x="${x}" y="${bottom + 18}" text-anchor="middle">${format(tick)}</text>`;
    }),
    ...rows.map((row, index) => drawRow(row, TOP + index * ROW_HEIGHT + ROW_HEIGHT / 2, place)),
  ];
  const described = rows.map(({ label, text }) => `${label}: ${text}`).join("; ");
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="${escape(`${title}. ${described}`)}">
  <style>${STYLE}
  </style>
  ${parts.join("\n  ")}
</svg>
`;
}

function drawRow({ label, values, text, role }: ChartRow, y: number, place: (value: number) => number): string {
  const [first, second] = values;
  const from = second === undefined ? LABEL_WIDTH : place(first);
  const to = Math.max(place(second ?? first), from + 1);
  const shape =
    second === undefined
      ? `<rect class="${role}" stroke="none" x="${from}" y="${y - 9}" width="${(to - from).toFixed(1)}" height="18" rx="2"/>`
      : `<line class="${role}" stroke-width="4" x1="${from.toFixed(1)}" x2="${to.toFixed(1)}" y1="${y}" y2="${y}"/>` +
        `<circle class="${role}" cx="${from.toFixed(1)}" cy="${y}" r="6"/><rect class="${role}" x="${(to - 2).toFixed(1)}" y="${y - 7}" width="4" height="14"/>`;
  return [
    `<text x="${LABEL_WIDTH - 10}" y="${y + 4}" text-anchor="end">${escape(label)}</text>`,
    shape,
    `<text x="${(to + 10).toFixed(1)}" y="${y + 4}">${escape(text)}</text>`,
  ].join("");
}

interface Axis {
  readonly ticks: readonly number[];
  readonly place: (value: number) => number;
}

const PLOT_WIDTH = WIDTH - LABEL_WIDTH - TEXT_WIDTH;

function linearAxis(values: readonly number[]): Axis {
  const most = Math.max(...values, 1);
  const magnitude = 10 ** Math.floor(Math.log10(most / 3));
  const step = magnitude * ([1, 2, 5, 10].find((factor) => most / (factor * magnitude) <= 5) ?? 10);
  const ticks = Array.from({ length: Math.floor(most / step) + 1 }, (_, index) => index * step);
  return { ticks, place: (value) => LABEL_WIDTH + (value / most) * PLOT_WIDTH };
}

function logarithmicAxis(values: readonly number[]): Axis {
  const least = Math.floor(Math.log10(Math.min(...values, 1)));
  const most = Math.max(Math.ceil(Math.log10(Math.max(...values, 1))), least + 1);
  const ticks = Array.from({ length: most - least + 1 }, (_, index) => 10 ** (least + index));
  const place = (value: number): number =>
    LABEL_WIDTH + ((Math.log10(Math.max(value, 10 ** least)) - least) / (most - least)) * PLOT_WIDTH;
  return { ticks, place };
}

function format(value: number): string {
  return value.toLocaleString("en", { maximumFractionDigits: 2 });
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
