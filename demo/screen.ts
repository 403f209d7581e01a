import { styleText } from "node:util";
import type { Ledger } from "./ledger.ts";
import type { Received } from "./receiver.ts";

type Style = Parameters<typeof styleText>[0];

/** Without a terminal, a line with the totals so often. */
const TOTALS_EVERY_MS = 5000;
const NARROW = 80;
const WIDE = 120;

/**
 * The demo's output. On a terminal the running total is the last line and stays there; into a pipe it is
 * a line of its own now and then. Colours where the terminal has them and NO_COLOR is not set.
 */
export class Screen {
  readonly #stream: NodeJS.WriteStream;
  readonly #hasTerminal: boolean;
  readonly #hasColour: boolean;
  #total = "";
  #totalShownAt = 0;

  constructor(stream: NodeJS.WriteStream = process.stdout) {
    this.#stream = stream;
    this.#hasTerminal = stream.isTTY;
    this.#hasColour = this.#hasTerminal && stream.hasColors() && (process.env["NO_COLOR"] ?? "") === "";
  }

  get width(): number {
    return Math.max(NARROW, Math.min(WIDE, this.#stream.columns ?? NARROW));
  }

  /** A line of its own. */
  line(text = ""): void {
    if (!this.#hasTerminal) {
      this.#stream.write(`${text}\n`);
      return;
    }
    // The total is wiped, and written anew below the line.
    this.#stream.write(`\r\u001b[K${text}\n${this.#total}`);
  }

  heading(text: string): void {
    this.line(this.style("bold", text));
  }

  /** Something that is done. Long texts are broken at spaces. */
  step(text: string): void {
    let line = "";
    let bullet = "•";
    for (const word of text.split(" ")) {
      if (line !== "" && line.length + 1 + word.length > this.width - 4) {
        this.line(`  ${this.style("green", bullet)} ${line}`);
        bullet = " ";
        line = word;
      } else line = line === "" ? word : `${line} ${word}`;
    }
    this.line(`  ${this.style("green", bullet)} ${line}`);
  }

  /** What belongs to a step. */
  detail(text: string): void {
    this.line(this.style("dim", `    ${text}`));
  }

  /** One request that arrived. */
  delivery(request: Received): void {
    const time = request.receivedAt.toTimeString().slice(0, 8);
    const latency = request.latencyMs === null ? "" : `${request.latencyMs.toFixed(1)} ms`;
    const [mark, style]: [string, Style] = !request.isSigned
      ? ["BAD SIGNATURE", "red"]
      : request.status >= 300
        ? [`answered ${request.status}, comes again`, "yellow"]
        : ["✓ signed", "green"];
    const document = `${request.doctype} ${readable(request.document)}`.trim();
    const room = this.width - "12:00:00 customer-changed  after_insert  1234.5 ms ✓ signed".length - 1;
    this.line(
      [
        this.style("dim", time),
        this.style("cyan", request.webhook.padEnd(17)),
        request.event.padEnd(12),
        fit(document, room),
        latency.padStart(10),
        this.style(style, mark),
      ].join(" "),
    );
  }

  /** The running total. */
  totals(ledger: Ledger, transactions: number): void {
    const p50 = ledger.latencyMs(50);
    const parts = [
      `${transactions} transactions`,
      `${ledger.delivered} delivered`,
      `${ledger.missing} under way`,
      ...(ledger.refused > 0 ? [`${ledger.refused} retried`] : []),
      ...(p50 === null ? [] : [`p50 ${p50.toFixed(1)} ms`]),
    ];
    const text = parts.join(" · ");
    if (this.#hasTerminal) {
      this.#total = this.style("inverse", ` ${fit(text, this.width - 3)} `);
      this.#stream.write(`\r\u001b[K${this.#total}`);
    } else if (Date.now() - this.#totalShownAt >= TOTALS_EVERY_MS) {
      this.#totalShownAt = Date.now();
      this.#stream.write(`         ${text}\n`);
    }
  }

  /** Takes the running total off the screen. */
  endTotals(): void {
    if (this.#hasTerminal && this.#total !== "") this.#stream.write("\r\u001b[K");
    this.#total = "";
  }

  style(style: Style, text: string): string {
    // styleText looks at standard output's colours by itself only in newer versions of Node.
    return this.#hasColour ? styleText(style, text) : text;
  }
}

/** The name of a document whose key has several columns is a JSON array; people read its parts. */
function readable(document: string): string {
  if (!document.startsWith("[")) return document;
  return (JSON.parse(document) as readonly string[]).join(" / ");
}

/** Exactly so many columns: padded, or cut with an ellipsis. */
function fit(text: string, width: number): string {
  return text.length > width ? `${text.slice(0, width - 1)}…` : text.padEnd(width);
}
