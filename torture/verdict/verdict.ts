import { readArrivals } from "../receiver/arrival.ts";
import type { Asked } from "../repairs/asked.ts";
import { fingerprint, lastingColumns } from "../receiver/delivery-key.ts";
import { versionName } from "./backfill-check.ts";
import { compare, type Comparison } from "./compare.ts";
import { readLogFacts } from "./log-facts.ts";
import type { Drained } from "../drain.ts";
import { expectedOf, readLedger, type Expected, type LedgerRow } from "./ledger.ts";
import { readRepairs } from "./repair-facts.ts";
import { rollupDifferences } from "./rollup-differences.ts";
import type { Violations } from "./violations.ts";
import type { World } from "../world.ts";

export interface Verdict extends Comparison {
  /** Changes that were committed, whether a webhook wants them or not. */
  readonly changes: number;
}

/**
 * Compares everything that was committed in this world with what became of it, and adds what else went wrong.
 *
 * @param asked what was asked for beside changes
 */
export async function judge(world: World, drained: Drained, crashes: Violations, asked: Asked): Promise<Verdict> {
  const { changes, expected, contents } = await readExpectations(world, asked);
  const repairs = await world.asSuperuser((client) => readRepairs(client, asked, world.webhooks, contents));
  const log = await readLogFacts(world.url("postgres"));
  const comparison = await compare(expected, readArrivals(world.arrivals), log, repairs);
  const { violations } = comparison;
  violations.take(crashes);
  for (const difference of await world.asSuperuser(rollupDifferences)) violations.add("rollup difference", difference);
  if (drained.leftOver !== null) violations.add("not drained", drained.leftOver);
  for (const letter of drained.deadLetters) violations.add("dead letters", letter);
  return { ...comparison, changes };
}

interface Expectations {
  readonly changes: number;
  readonly expected: readonly Expected[];
  /** Of tables that backfills have read. */
  readonly contents: ReadonlyMap<string, string>;
}

async function readExpectations(world: World, { backfills }: Asked): Promise<Expectations> {
  const all: Expected[] = [];
  const contents = new Map<string, string>();
  const isRead = new Set(backfills.map(({ doctype }) => doctype));
  let changes = 0;
  for await (const rows of readLedger(world.url("postgres"))) {
    changes += rows.length;
    for (const expected of expectedOf(rows, world.webhooks)) all.push(expected);
    for (const row of rows) if (isRead.has(row.doctype)) noteContent(contents, row);
  }
  return { changes, expected: all, contents };
}

function noteContent(contents: Map<string, string>, { doctype, rowSeq, doc, events }: LedgerRow): void {
  if (rowSeq === null || doc === null || events.includes("on_trash")) return;
  const columns = lastingColumns(JSON.parse(doc) as Record<string, unknown>);
  contents.set(versionName(doctype, Number(rowSeq)), fingerprint(columns));
}
