/** Known mistakes with lanes, queue and cursor, to see that the simulation finds each of them. */
export const MUTANTS = [
  "acknowledge-early",
  "cursor-outside",
  /** Nobody asks the queue whether a delivery has to go behind something. */
  "lane-ignored-on-retry",
  /** A dead letter never holds its lane. */
  "hold-ignored",
  /** The queue releases what waits behind a dead letter that holds its lane. */
  "held-released",
  /** What arrives later passes a dead letter that holds its lane. */
  "holder-forgotten",
  /** Whoever asks for a repair lets nothing go that waited behind it. */
  "repair-releases-nothing",
  /** What has no order is put into the queue as if a lane would release it. */
  "unordered-blocked",
] as const;

export type Mutant = (typeof MUTANTS)[number] | null;
