import { expect, it } from "vitest";
import { CursorSimulation } from "./cursor-simulation.ts";
import { MUTANTS, type Mutant } from "./cursor-simulation-mutants.ts";

/** A long run: WALHOOK_SCHEDULES=1000000; a failing seed again: WALHOOK_SEED=<seed> WALHOOK_SCHEDULES=1. */
const FIRST_SEED = Number(process.env["WALHOOK_SEED"] ?? 1);
const SCHEDULES = Number(process.env["WALHOOK_SCHEDULES"] ?? 50_000);

/** The first seed at which something goes wrong, and what. */
function findProblem(simulation: CursorSimulation, schedules: number): string | null {
  for (let seed = FIRST_SEED; seed < FIRST_SEED + schedules; seed++) {
    const problem = simulation.run(seed);
    if (problem !== null) return `seed ${seed}: ${problem}`;
  }
  return null;
}

it(
  "after any crash the server sends again, behind the stored cursor, exactly what is not durable; nothing else is ever acknowledged, and a slot counts as moved only where somebody moved it",
  { timeout: 10_000 + SCHEDULES },
  () => {
    const simulation = new CursorSimulation();
    expect(findProblem(simulation, SCHEDULES)).toBeNull();
    if (SCHEDULES < 1000) return;
    const { crashes, ...others } = simulation.coverage;
    expect(crashes).toBeGreaterThan(SCHEDULES);
    for (const [what, times] of Object.entries(others)) expect(times, what).toBeGreaterThan(SCHEDULES / 100);
  },
);

it.each<Mutant>(MUTANTS)("the simulation can fail: it catches the mistake %s", (mutant) => {
  expect(findProblem(new CursorSimulation(mutant), 5_000)).toMatch(/^seed \d+: /);
});
