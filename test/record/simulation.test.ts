import { expect, it } from "vitest";
import { simulate, type Mutant } from "./simulation.ts";

const FIRST_SEED = Number(process.env["WALHOOK_SEED"] ?? 1);
const SCHEDULES = Number(process.env["WALHOOK_SCHEDULES"] ?? 4_000);

it("under crashes between any two steps every change is logged as delivered exactly once, none is lost, none overtakes another of its lane", () => {
  let crashes = 0;
  for (let seed = FIRST_SEED; seed < FIRST_SEED + SCHEDULES; seed++) {
    const result = simulate(seed);
    expect(result.problems, `seed ${seed}`).toEqual([]);
    crashes += result.crashes;
  }
  expect(crashes).toBeGreaterThan(SCHEDULES);
});

it.each<Mutant>(["acknowledge-early", "lane-ignored-on-retry", "cursor-outside"])(
  "the simulation can fail: it catches the mistake %s",
  (mutant) => {
    const isCaught = Array.from({ length: 500 }, (_, seed) => simulate(seed + 1, mutant)).some(
      ({ problems }) => problems.length > 0,
    );
    expect(isCaught).toBe(true);
  },
);
