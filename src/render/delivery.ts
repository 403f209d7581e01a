import type { Position } from "../decode/position.ts";
import type { DocEventName } from "../events/doc-event.ts";

/** Why a delivery exists. */
export type DeliverySource = "live" | "backfill" | "replay" | "test";

/** What is frozen when an event is matched. The rest (static URL and headers, secret, timeout) is taken at each attempt. */
export interface FrozenRequest {
  readonly method: string;
  /** The rendered URL of a webhook with `is_dynamic_url`; null: taken from the configuration at each attempt. */
  readonly url: string | null;
  readonly contentType: string;
  /** Rendered values of templated headers only, in configuration order. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** The exact bytes that are signed and sent. */
  readonly body: Buffer;
}

/** One doc event of one change for one webhook: plain data, complete without the stages before it. */
export interface Delivery {
  /** Stable over attempts, restarts and replays: the `webhook-id`. */
  readonly id: string;
  readonly webhookId: number;
  /** The webhook's name when the event was matched; names can change, the number cannot. */
  readonly webhookName: string;
  readonly doctype: string;
  readonly docname: string | null;
  readonly oldDocname: string | null;
  readonly docevent: DocEventName;
  readonly source: DeliverySource;
  readonly position: Position;
  readonly xid: number;
  /** Microseconds since 1970-01-01 UTC. */
  readonly commitTimeUs: bigint;
  /** Whether it keeps its place in the order of its document. */
  readonly isOrdered: boolean;
}

/** Where a delivery stands when it leaves the render room. */
export type Order =
  /** Ready to be sent. */
  | { readonly kind: "request"; readonly delivery: Delivery; readonly request: FrozenRequest }
  /** Its condition could not be asked yet: it waits in the queue with the raw change. */
  | { readonly kind: "undecided"; readonly delivery: Delivery; readonly change: string; readonly reason: string }
  /** It will never be sent, and the log says why. */
  | {
      readonly kind: "unsendable";
      readonly delivery: Delivery;
      /** declined: a condition does not hold, and its webhook wants that to be known. */
      readonly outcome: "undecidable" | "error" | "declined";
      readonly errorClass: string | null;
      readonly reason: string;
    };
