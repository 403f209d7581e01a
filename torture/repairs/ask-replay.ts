import type pg from "pg";
import type { Random } from "../random.ts";
import type { AskedReplay } from "./asked.ts";

/** What a request for a replay came to. */
export interface ReplayAnswer {
  /** Null: it was only asked how many there are, or there was nothing to send again. */
  readonly replay: AskedReplay | null;
  /** What the answer says of the deliveries is not what the log says; null where it is. */
  readonly difference: unknown;
}

interface Counted {
  readonly replayable: string;
  readonly replay_id: string | null;
}

type Choices = Pick<Random, "between" | "chance" | "pick">;

/** More than so many are not sent again: one of them is. */
const MANY_DELIVERIES = 500;

/** The deliveries of a webhook that ended well in a stretch of time and are not open again. */
const DELIVERED = `
  with latest as (
    select distinct on (l.delivery_id) l.delivery_id, l.outcome
      from walhook.webhook_request_log l join walhook.webhook w on w.id = l.webhook_id
     where w.name = $1 and l.sent_at >= $2 and l.sent_at < $3 and l.source <> 'test'
     order by l.delivery_id, l.sent_at desc, l.attempt desc
  )
  select l.delivery_id as id from latest l
   where l.outcome = 'delivered' and not exists (
     select from walhook.webhook_queue q where q.delivery_id = l.delivery_id and not q.is_dead)`;

/**
 * Asks how many deliveries of a webhook could be sent again, compares that with the log, and mostly asks for it. In a
 * transaction that is left open, in which the log does not change.
 */
export async function askReplay(client: pg.ClientBase, webhook: string, random: Choices): Promise<ReplayAnswer> {
  const reach = random.between(500, 15_000);
  const { rows: times } = await client.query<{ now_ms: number; since: string; until: string }>(
    `select extract(epoch from clock_timestamp())::float8 * 1000 as now_ms,
            (clock_timestamp() - $1 * interval '1 ms')::text as since, (clock_timestamp() - interval '1 ms')::text as until`,
    [reach],
  );
  const { now_ms: askedAtMs, since, until } = times[0]!;
  const { rows } = await client.query<{ id: string }>(DELIVERED, [webhook, since, until]);
  const all = rows.map(({ id }) => id);
  const isOne = all.length > MANY_DELIVERIES || (all.length > 0 && random.chance(0.3));
  const deliveries = isOne ? [random.pick(all)] : all;
  const ask = async (isDry: boolean): Promise<Counted> => {
    const answer = await client.query<Counted>(
      `select replayable, replay_id from walhook.replay($1, delivery_id => $5, since => $2, until => $3,
         outcome => 'delivered', rate => 500, dry_run => $4)`,
      [webhook, since, until, isDry, isOne ? deliveries[0] : null],
    );
    return answer.rows[0]!;
  };
  const counted = await ask(true);
  const isSame = Number(counted.replayable) === deliveries.length && counted.replay_id === null;
  const difference = isSame ? null : { webhook, since, until, counted, inLog: deliveries.length };
  if (random.chance(0.2)) return { replay: null, difference };
  const { replay_id: id } = await ask(false);
  return {
    replay: id === null ? null : { id, webhook, deliveries, askedAtMs, isStopped: false },
    difference,
  };
}
