import { FAIL_POINTS } from "./fail-points.ts";
import { MUTANTS } from "../mutants/mutants.ts";

/** A change of one built file of the bridge, applied while it is loaded: the code that is shipped knows nothing of it. */
export interface Patch {
  readonly name: string;
  /** Below `dist/`. */
  readonly file: string;
  /** Stands there exactly once. */
  readonly find: string;
  readonly replace: string;
}

/** All patches of the named fail points and mutants, in the order in which they are applied. */
export function patchesNamed(names: readonly string[]): readonly Patch[] {
  const all: readonly Patch[] = [...FAIL_POINTS, ...MUTANTS];
  const unknown = names.find((name) => !all.some((patch) => patch.name === name));
  if (unknown !== undefined) throw new Error(`there is no patch "${unknown}"`);
  return all.filter((patch) => names.includes(patch.name));
}
