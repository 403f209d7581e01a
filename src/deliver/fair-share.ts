/** The requests that are open now. */
export interface OpenRequests {
  readonly inAll: number;
  /** Of the webhook that wants one more. */
  readonly own: number;
  /** Webhooks that have something to send. */
  readonly webhooks: number;
}

/**
 * Whether one more request may be opened. Below `max` in all any webhook may open one; above it each webhook still has
 * its share of `max`, at least one request. So webhooks whose receivers hang, however many, keep no other one waiting, and there
 * are never more than twice `max`, or `max` and one for each webhook.
 */
export function mayOpen({ inAll, own, webhooks }: OpenRequests, max: number): boolean {
  return inAll < max || own < Math.max(1, Math.floor(max / webhooks));
}
