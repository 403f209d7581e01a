import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";

/** A delivery as the receiver wrote it down before it answered. A batch is several, one after the other. */
export interface Arrival {
  /** The delivery's id. */
  readonly id: string;
  /** Counts the requests. */
  readonly request: number;
  /** The `webhook-id`: the delivery's id, or the batch's. */
  readonly requestId: string;
  /** Of the body, but for rows of backfills: they may be read anew. */
  readonly requestHash: string;
  readonly webhook: string;
  /** A row that was read from its table, instead of a change. */
  readonly isBackfill: boolean;
  /** The number of the change that made the row what it is; null: there is no row. */
  readonly rowSeq: number | null;
  /** What it is about: see `deliveryKey`. */
  readonly key: string;
  readonly docname: string | null;
  readonly lsn: string;
  /** Of a backfill without columns that were added. */
  readonly docHash: string;
  readonly bodyHash: string;
  readonly isSigned: boolean;
  readonly atMs: number;
  /** What was answered; null: nothing. */
  readonly status: number | null;
  /** How the receiver behaved to it. */
  readonly mode: ReceiverMode;
}

/** How a receiver behaves. */
export type ReceiverMode = "well" | "hang" | "500" | "429" | "slow" | "reset after 200" | "reset";

/** Whether the receiver counts the delivery as done. */
export function isAccepted({ status }: Arrival): boolean {
  return status !== null && status >= 200 && status < 300;
}

/** Reads the receiver's file, in order of arrival. A line that was cut off by a kill was never answered. */
export async function* readArrivals(file: string): AsyncGenerator<Arrival> {
  for await (const line of createInterface({ input: createReadStream(file), crlfDelay: Infinity })) {
    if (line.endsWith("}")) yield JSON.parse(line) as Arrival;
  }
}
