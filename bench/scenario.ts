import type { Report } from "./report.ts";

/** One question to the running system, and how it is asked. */
export interface Scenario {
  readonly name: string;
  readonly summary: string;
  /** Its own options, by flag; `quick` is the value for a first look. Numbers all. */
  readonly options: Readonly<Record<string, ScenarioOption>>;
  /** Whether a server that somebody else runs serves as well: without settings of its own, stops and starts. */
  readonly worksOnGivenServer?: true;
  /** Left out where no scenario is named. */
  readonly isOnlyByName?: true;
  run(context: ScenarioContext): Promise<Report>;
}

export interface ScenarioOption {
  readonly help: string;
  readonly full: number;
  readonly quick: number;
}

export interface ScenarioContext {
  /** The value of one of the scenario's options. */
  readonly option: (flag: string) => number;
  /** The command line to run: `dist/cli/walhook.cjs`, or another build of it. */
  readonly cli: string;
  /** Tells whoever watches what happens now. */
  readonly note: (text: string) => void;
}
