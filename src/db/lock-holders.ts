import type pg from "pg";

const HOLDERS = `
  select a.pid, a.usename::text as role, coalesce(nullif(a.application_name, ''), 'no name') as program, a.state, a.xact_start
    from pg_catalog.pg_stat_activity a
   where a.pid <> pg_backend_pid()
     and exists (select from pg_catalog.pg_locks l join pg_catalog.pg_class c on c.oid = l.relation
                  where l.pid = a.pid and l.granted and l.database = (select d.oid from pg_catalog.pg_database d where d.datname = current_database())
                    and c.relnamespace = to_regnamespace('walhook'))
   order by a.xact_start nulls last limit 5`;

/** A session that has a lock on something of Walhook's. */
export interface LockHolder {
  readonly pid: number;
  readonly role: string | null;
  readonly program: string;
  readonly state: string | null;
  /** When its transaction began; null where whoever asks may not know. */
  readonly xact_start: Date | null;
}

/** The sessions that have locks on tables of schema walhook, the one with the oldest transaction first; five at most. */
export async function lockHolders(client: pg.ClientBase): Promise<readonly LockHolder[]> {
  const { rows } = await client.query<LockHolder>(HOLDERS);
  return rows;
}

/** For a sentence: `4711 (bob, psql, idle in transaction since 2026-11-25T10:31:00.000Z)`. */
export function describeHolder({ pid, role, program, state, xact_start }: LockHolder): string {
  const since = xact_start === null ? "" : ` since ${xact_start.toISOString()}`;
  return `${pid} (${role ?? "unknown role"}, ${program}, ${state ?? "unknown state"}${since})`;
}
