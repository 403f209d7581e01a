import type { Ledger } from "./ledger.ts";
import type { Screen } from "./screen.ts";

/** How to try it by hand: the command and three statements. */
export function printInvitation(screen: Screen, url: string): void {
  screen.line();
  screen.heading("Try it by hand, in another terminal:");
  screen.line();
  screen.line(`  ${screen.style("cyan", `psql ${url}`)}`);
  screen.line();
  for (const statement of STATEMENTS) screen.line(`  ${statement}`);
  screen.line();
  screen.heading("Webhooks as they arrive (Ctrl-C ends it):");
  screen.line();
}

/** An order, its payment (which a condition waits for), and the log of both. */
const STATEMENTS = [
  "insert into orders (customer_id, total) values (1, 99.90);",
  "update orders set status = 'Paid' where id = (select max(id) from orders);",
  "select webhook, docname, docevent, outcome, status_code, duration_ms",
  "  from walhook.webhook_request_log order by sent_at desc limit 5;",
];

export interface Summary {
  readonly ledger: Ledger;
  readonly logged: { readonly deliveredOnce: number; readonly rows: number; readonly queued: number };
  /** Of `walhook run`. */
  readonly exitCode: number;
  readonly transactions: number;
  readonly rollbacks: number;
  readonly seconds: number;
}

/** Says what came of it. The exit code: 0 where everything arrived, once, signed, and stands in the log. */
export function printSummary(screen: Screen, summary: Summary): number {
  const { ledger, logged } = summary;
  const latency = [50, 99].map((percent) => `p${percent} ${(ledger.latencyMs(percent) ?? 0).toFixed(1)} ms`).join(", ");
  const rows: readonly (readonly [string, number | string, boolean])[] = [
    ["transactions committed", summary.transactions, true],
    ["rolled back, must lead to nothing", summary.rollbacks, true],
    ["webhooks that had to arrive", ledger.committed, true],
    ["of these missing", ledger.missing, ledger.missing === 0],
    ["made by hand, or of a run before", ledger.others, true],
    ["arrived, each id counted once", ledger.delivered, true],
    ["arrived twice", ledger.repeated, ledger.repeated === 0],
    ["answered with 503 on purpose", ledger.refused, true],
    ["bad signatures", ledger.badSignatures, ledger.badSignatures === 0],
    ["logged as delivered exactly once", logged.deliveredOnce, logged.deliveredOnce === ledger.delivered],
    ["rows in the log, retries included", logged.rows, true],
    ["still in the queue", logged.queued, true],
    ["commit to receipt", latency, true],
    ["walhook run ended with exit code", summary.exitCode, summary.exitCode === 0],
  ];
  screen.line();
  screen.heading(`Summary of ${summary.seconds.toFixed(0)} s`);
  screen.line();
  for (const [what, value, isGood] of rows) {
    const text = `  ${what.padEnd(36)} ${String(value).padStart(8)}`;
    screen.line(isGood ? text : screen.style("red", `${text}  <- should not be`));
  }
  const isGood = rows.every(([, , good]) => good);
  screen.line();
  screen.line(
    isGood
      ? screen.style("green", "  Everything arrived, signed, and stands in the log.")
      : screen.style("red", "  Not everything is as it should be."),
  );
  screen.line();
  return isGood ? 0 : 1;
}
