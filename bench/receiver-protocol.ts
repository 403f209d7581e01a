/**
 * How the endpoint behaves:
 * `accept` answers 200 at once, `steady` after 20 ms, `fail` 500 at once; `refuse` does not listen; `hang` never answers; `slow` answers after
 * 10 s; `drip` sends a byte of its answer each 500 ms and never ends.
 */
export type Behaviour = "accept" | "steady" | "fail" | "refuse" | "hang" | "slow" | "drip";

/** What the receiver's process is told. */
export type Instruction =
  | { readonly kind: "behave"; readonly as: Behaviour }
  | { readonly kind: "report" }
  /** Forgets what was counted, but not which ids came and how far each document is. */
  | { readonly kind: "reset" };

/** What it answers: to `report` a tally, to all others that it is done. */
export type Answer =
  | { readonly kind: "listening"; readonly port: number }
  | { readonly kind: "done" }
  | { readonly kind: "tally"; readonly tally: Tally };

/** What came in since the last reset. Times in ms since 1970. */
export interface Tally {
  readonly requests: number;
  /** Of them those whose `webhook-id` had come before. */
  readonly repeated: number;
  /** Of them those of an earlier version of their document than one that had come before; repeats are not counted. */
  readonly inverted: number;
  /** Of them, under way at the same time. */
  readonly mostAtOnce: number;
  /** Different ids since the start, whatever was reset. */
  readonly distinct: number;
  /** Of them, not answered yet. */
  readonly open: number;
  readonly firstAtMs: number | null;
  readonly lastAtMs: number | null;
  /** From the commit's time stamp in the body to the arrival of its first byte; null without any. */
  readonly latencyMs: { readonly p50: number; readonly p99: number; readonly max: number } | null;
}
