import { expect, it } from "vitest";
import { simulate } from "./simulation.ts";
import { MUTANTS } from "./simulation-mutants.ts";

const FIRST_SEED = Number(process.env["WALHOOK_SEED"] ?? 1);
const SCHEDULES = Number(process.env["WALHOOK_SCHEDULES"] ?? 4_000);

it(
  "under crashes between any two steps every change ends exactly once, none is lost, none overtakes another of its lane or a dead letter that holds it",
  { timeout: 10_000 + 2 * SCHEDULES },
  () => {
    const total = { crashes: 0, dead: 0, held: 0 };
    for (let seed = FIRST_SEED; seed < FIRST_SEED + SCHEDULES; seed++) {
      const result = simulate(seed);
      expect(result.problems, `seed ${seed}`).toEqual([]);
      total.crashes += result.crashes;
      total.dead += result.dead;
      total.held += result.held;
    }
    if (SCHEDULES < 100) return;
    for (const [what, times] of Object.entries(total)) expect(times, what).toBeGreaterThan(SCHEDULES);
  },
);

it.each(MUTANTS)("the simulation can fail: it catches the mistake %s", (mutant) => {
  const isCaught = Array.from({ length: 500 }, (_, seed) => seed + 1).some(
    (seed) => simulate(seed, mutant).problems.length > 0,
  );
  expect(isCaught).toBe(true);
});
