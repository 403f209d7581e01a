import type pg from "pg";

/** The server and the role, as far as replication needs them. Readable by any role. */
export interface ServerFacts {
  readonly versionNumber: number;
  readonly isInRecovery: boolean;
  readonly walLevel: string;
  /** Of the database, as Postgres names it. */
  readonly encoding: string;
  readonly maxReplicationSlots: number;
  readonly usedReplicationSlots: number;
  readonly maxWalSenders: number;
  readonly usedWalSenders: number;
  /** -1: a slot may retain any amount. */
  readonly maxSlotWalKeepMb: number;
  readonly user: string;
  readonly isSuperuser: boolean;
  readonly canReplicate: boolean;
  /** Null where the role walhook_bridge does not exist: installed without CREATEROLE. */
  readonly isBridgeMember: boolean | null;
  /** The server's clock minus ours, in milliseconds, give or take half a round trip. */
  readonly clockSkewMs: number;
}

const SERVER_FACTS = `
  select
    current_setting('server_version_num')::integer as "versionNumber",
    pg_is_in_recovery() as "isInRecovery",
    current_setting('wal_level') as "walLevel",
    current_setting('server_encoding') as encoding,
    current_setting('max_replication_slots')::integer as "maxReplicationSlots",
    (select count(*)::integer from pg_catalog.pg_replication_slots) as "usedReplicationSlots",
    current_setting('max_wal_senders')::integer as "maxWalSenders",
    (select count(*)::integer from pg_catalog.pg_stat_replication) as "usedWalSenders",
    (select setting::integer from pg_catalog.pg_settings where name = 'max_slot_wal_keep_size') as "maxSlotWalKeepMb",
    current_user::text as "user",
    role.rolsuper as "isSuperuser",
    role.rolsuper or role.rolreplication or exists (
      select from pg_catalog.pg_roles as managed
      where managed.rolname in ('rds_replication', 'azure_pg_admin') and pg_has_role(managed.oid, 'member')
    ) as "canReplicate",
    (select pg_has_role(bridge.oid, 'member') from pg_catalog.pg_roles as bridge where bridge.rolname = 'walhook_bridge')
      as "isBridgeMember"
  from pg_catalog.pg_roles as role
  where role.rolname = current_user`;

/** Asks the server about itself and about the connected role. */
export async function readServerFacts(client: pg.Client): Promise<ServerFacts> {
  const { rows } = await client.query<Omit<ServerFacts, "clockSkewMs">>(SERVER_FACTS);
  const [facts] = rows;
  if (facts === undefined) throw new Error("the connected role is not in pg_roles");
  return { ...facts, clockSkewMs: await measureClockSkew(client) };
}

async function measureClockSkew(client: pg.Client): Promise<number> {
  const sentMs = Date.now();
  const { rows } = await client.query<{ now_ms: number }>(
    "select (extract(epoch from clock_timestamp()) * 1000)::float8 as now_ms",
  );
  const middleMs = (sentMs + Date.now()) / 2;
  return Math.round((rows[0]?.now_ms ?? middleMs) - middleMs);
}
