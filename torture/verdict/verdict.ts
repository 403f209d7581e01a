import { readArrivals } from "../receiver/arrival.ts";
import { compare, type Comparison } from "./compare.ts";
import { readLogFacts } from "./log-facts.ts";
import type { Drained } from "../drain.ts";
import { expectedOf, readLedger, type Expected } from "./ledger.ts";
import { rollupDifferences } from "./rollup-differences.ts";
import type { Violations } from "./violations.ts";
import type { World } from "../world.ts";

export interface Verdict extends Comparison {
  /** Changes that were committed, whether a webhook wants them or not. */
  readonly changes: number;
}

/** Compares everything that was committed in this world with what became of it, and adds what else went wrong. */
export async function judge(world: World, drained: Drained, crashes: Violations): Promise<Verdict> {
  const { changes, expected } = await readExpectations(world);
  const comparison = await compare(expected, readArrivals(world.arrivals), await readLogFacts(world.url("postgres")));
  const { violations } = comparison;
  violations.take(crashes);
  for (const difference of await world.asSuperuser(rollupDifferences)) violations.add("rollup difference", difference);
  if (drained.leftOver !== null) violations.add("not drained", drained.leftOver);
  for (const letter of drained.deadLetters) violations.add("dead letters", letter);
  return { ...comparison, changes };
}

async function readExpectations(
  world: World,
): Promise<{ readonly changes: number; readonly expected: readonly Expected[] }> {
  const all: Expected[] = [];
  let changes = 0;
  for await (const rows of readLedger(world.url("postgres"))) {
    changes += rows.length;
    for (const expected of expectedOf(rows, world.webhooks)) all.push(expected);
  }
  return { changes, expected: all };
}
