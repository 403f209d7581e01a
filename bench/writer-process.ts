import pg from "pg";
import type { WriterOrder, WriterTotals } from "./writer.ts";

/**
 * Runs statements at a steady rate, each a transaction of its own, whatever the answers take (an open loop: who falls
 * behind catches up). Run by `writer.ts`.
 */

const CONNECTIONS = 8;
const TICK_MS = 1;

const order = JSON.parse(process.argv[2] ?? "{}") as WriterOrder;
const idle: pg.Client[] = [];
let sequence = order.from;
let startedAt = performance.now();
let begun = 0;
let committed = 0;
let mostBehind = 0;
let failure: unknown = null;

for (let i = 0; i < CONNECTIONS; i++) {
  const client = new pg.Client({ connectionString: order.url, application_name: "bench writer" });
  await client.connect();
  idle.push(client);
}

function beginDue(): void {
  const due = Math.floor(((performance.now() - startedAt) / 1000) * order.rate);
  mostBehind = Math.max(mostBehind, due - begun);
  while (begun < due) {
    const client = idle.pop();
    if (client === undefined) return;
    const number = sequence++;
    const turn = begun++ % order.statements.length;
    client
      .query({ name: `s${turn}`, text: order.statements[turn] ?? "", values: [number] })
      .then(
        () => {
          committed++;
          idle.push(client);
        },
        (error: unknown) => {
          failure = error;
        },
      )
      .catch(() => {});
  }
}

startedAt = performance.now();
const timer = setInterval(beginDue, TICK_MS);

process.on("message", () => {
  clearInterval(timer);
  const finish = (): void => {
    if (failure === null && idle.length < CONNECTIONS) return void setTimeout(finish, 5);
    const totals: WriterTotals = {
      committed,
      next: sequence,
      seconds: (performance.now() - startedAt) / 1000,
      mostBehind,
      failure: failure === null ? null : failure instanceof Error ? failure.message : "unknown",
    };
    process.send?.(totals, () => process.exit());
  };
  finish();
});
process.on("disconnect", () => process.exit());
process.send?.("ready");
