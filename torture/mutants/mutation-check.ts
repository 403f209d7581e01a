import { scenarioOf } from "./mutant-scenarios.ts";
import { play, type Played } from "./play.ts";
import type { Scenario } from "./scenario.ts";
import { ZEROES, type Zero } from "../verdict/violations.ts";

/** Whether a mutant was noticed. */
export interface MutantReport {
  readonly mutant: string;
  readonly scenario: string;
  /** The numbers that were not zero, the telling one first; empty: it was not caught. */
  readonly caughtBy: readonly Zero[];
  readonly example: unknown;
  readonly seconds: number;
  /** What the same scenario showed without the mutant: nothing, or the scenario proves nothing. */
  readonly control: readonly Zero[];
  /** Folders that were kept because something was not as it must be. */
  readonly kept: readonly string[];
}

/** Whatever breaks the bridge shows here as well; that alone would not mean that the mistake was noticed. */
const UNTELLING: readonly Zero[] = ["bridge crashes", "not drained"];

/** Plays each mutant's scenario with it and, once a scenario, without. */
export class MutationCheck {
  readonly #controls = new Map<Scenario, Promise<Played>>();

  async check(mutant: string): Promise<MutantReport> {
    const scenario = scenarioOf(mutant);
    let control = this.#controls.get(scenario);
    if (control === undefined) this.#controls.set(scenario, (control = play(scenario, null)));
    const unmutated = await control;
    const played = await play(scenario, mutant);
    const caughtBy = notZero(played).filter((zero) => !UNTELLING.includes(zero));
    return {
      mutant,
      scenario: scenario.name,
      caughtBy,
      example: caughtBy[0] === undefined ? null : played.violations.examples[caughtBy[0]]?.[0],
      seconds: Math.round(played.ms / 100) / 10,
      control: notZero(unmutated),
      kept: [unmutated.kept, played.kept].filter((folder) => folder !== null),
    };
  }
}

function notZero({ violations }: Played): readonly Zero[] {
  return ZEROES.filter((zero) => violations.count(zero) > 0);
}
