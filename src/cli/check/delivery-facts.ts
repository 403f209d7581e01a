import type pg from "pg";

/** How one webhook does, as `walhook.webhook_state` and the queue have it. */
export interface DeliveryFacts {
  readonly name: string;
  readonly isEnabled: boolean;
  readonly isPaused: boolean;
  /** `webhook_state.state`, with what belongs to it. */
  readonly state: string;
  readonly lastError: string | null;
  /** `webhook_state.health`, with what belongs to it. */
  readonly health: string;
  readonly lastFailure: string | null;
  readonly waiting: number;
  readonly deadLetters: number;
}

const DELIVERY_FACTS = `
  select
    webhook.name,
    webhook.enabled as "isEnabled",
    exists (select from walhook.paused as pause where pause.webhook_id = webhook.id) as "isPaused",
    coalesce(state.state, 'ok') as state,
    state.last_error as "lastError",
    coalesce(state.health, 'ok') as health,
    state.last_failure as "lastFailure",
    coalesce(queue.waiting, 0)::integer as waiting,
    coalesce(queue.dead, 0)::integer as "deadLetters"
  from walhook.webhook
  left join walhook.webhook_state as state on state.webhook_id = webhook.id
  left join (
    select webhook_id, count(*) filter (where not is_dead) as waiting, count(*) filter (where is_dead) as dead
    from walhook.webhook_queue
    group by webhook_id
  ) as queue on queue.webhook_id = webhook.id
  order by webhook.name`;

/** Every webhook, by name. */
export async function readDeliveryFacts(client: pg.Client): Promise<readonly DeliveryFacts[]> {
  const { rows } = await client.query<DeliveryFacts>(DELIVERY_FACTS);
  return rows;
}
