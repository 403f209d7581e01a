import type { Patch } from "./patches.ts";

/** Known mistakes, put back one at a time: the test must notice each. */
export const MUTANTS: readonly Patch[] = [];
