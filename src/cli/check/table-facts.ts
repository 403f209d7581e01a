import type pg from "pg";

/** One watched table, as it is and as its webhooks need it. */
export interface TableFacts {
  /** As the webhooks' rows recorded it: with its schema unless public. */
  readonly doctype: string;
  readonly webhooks: readonly string[];
  /** False once it was dropped. */
  readonly exists: boolean;
  /** A table that has the recorded name now, but is another one. */
  readonly successor: string | null;
  /** The name it has now, quoted for SQL. */
  readonly name: string;
  readonly owner: string;
  /** The owner of schema walhook, who keeps the publications and sets replica identities. */
  readonly keeper: string;
  readonly isKeeperMemberOfOwner: boolean;
  readonly hasPrimaryKey: boolean;
  readonly isInInsertPublication: boolean;
  readonly isInAllPublication: boolean;
  /** Whether a webhook wants more than inserts and truncates. */
  readonly needsAllChanges: boolean;
  /** Whether a webhook needs the row before a change. */
  readonly needsOldRow: boolean;
  /** Whether rows of a partition that is attached while the bridge runs are missed: on PostgreSQL 14 without the guard. */
  readonly missesAttached: boolean;
  /** The table itself, or the leaves of a partitioned one. */
  readonly leaves: readonly LeafFacts[];
}

export interface LeafFacts {
  readonly name: string;
  /** d default, i index, n nothing, f full. */
  readonly replicaIdentity: string;
  /** Whether updates and deletes can be told by what the identity names: a key, a valid index, or the whole row. */
  readonly isIdentifiable: boolean;
}

/** An author who no longer may read what the webhook sends. */
export interface AuthorFacts {
  readonly webhook: string;
  readonly reason: string;
}

/** The needs are what the triggers on walhook.webhook go by. */
const TABLE_FACTS = `
  with watched as (
    select webhook.doctype_oid, min(webhook.doctype) as doctype, array_agg(webhook.name order by webhook.name) as webhooks
    from walhook.webhook
    group by webhook.doctype_oid
  ), needs as (
    select watched.doctype_oid, watched.doctype, watched.webhooks, need.all_changes, need.old_values
    from watched cross join lateral walhook.needs(watched.doctype_oid) as need
  )
  select
    needs.doctype,
    needs.webhooks,
    class.oid is not null as "exists",
    case when class.oid is null then to_regclass(needs.doctype)::text end as successor,
    coalesce(class.oid::regclass::text, needs.doctype) as name,
    coalesce(pg_get_userbyid(class.relowner)::text, '') as owner,
    pg_get_userbyid(schema.nspowner)::text as keeper,
    class.oid is null or pg_has_role(schema.nspowner, class.relowner, 'member') as "isKeeperMemberOfOwner",
    exists (select from pg_catalog.pg_index where indrelid = class.oid and indisprimary) as "hasPrimaryKey",
    exists (
      select from pg_catalog.pg_publication_rel join pg_catalog.pg_publication on pg_publication.oid = prpubid
      where prrelid = class.oid and pubname = 'walhook_insert'
    ) as "isInInsertPublication",
    exists (
      select from pg_catalog.pg_publication_rel join pg_catalog.pg_publication on pg_publication.oid = prpubid
      where prrelid = class.oid and pubname = 'walhook_all'
    ) as "isInAllPublication",
    needs.all_changes as "needsAllChanges",
    needs.old_values as "needsOldRow",
    coalesce(class.relkind = 'p', false) and current_setting('server_version_num')::integer < 150000 and not exists (
      select from pg_catalog.pg_event_trigger where evtname = 'walhook_guard' and evtenabled in ('O', 'A')
    ) as "missesAttached",
    coalesce(leaves.list, '[]'::jsonb) as leaves
  from needs
  cross join (select nspowner from pg_catalog.pg_namespace where nspname = 'walhook') as schema
  left join pg_catalog.pg_class as class on class.oid = needs.doctype_oid
  left join lateral (
    select jsonb_agg(jsonb_build_object(
      'name', leaf.oid::regclass::text,
      'replicaIdentity', leaf.relreplident,
      'isIdentifiable', case leaf.relreplident
        when 'f' then true
        when 'd' then exists (select from pg_catalog.pg_index where indrelid = leaf.oid and indisprimary)
        when 'i' then exists (select from pg_catalog.pg_index where indrelid = leaf.oid and indisreplident)
        else false
      end
    ) order by leaf.oid::regclass::text) as list
    from pg_catalog.pg_partition_tree(class.oid) as tree
    join pg_catalog.pg_class as leaf on leaf.oid = tree.relid
    where tree.isleaf and leaf.relkind = 'r'
  ) as leaves on true
  order by needs.doctype`;

const AUTHOR_FACTS = `
  select webhook.name as webhook, rights.reason
  from walhook.author_rights() as rights join walhook.webhook on webhook.id = rights.webhook_id
  where not rights.may_read
  order by webhook.name`;

/** Authors who lost a right. */
export async function readAuthorFacts(client: pg.Client): Promise<readonly AuthorFacts[]> {
  const { rows } = await client.query<AuthorFacts>(AUTHOR_FACTS);
  return rows;
}

/** Every watched table, by name. */
export async function readTableFacts(client: pg.Client): Promise<readonly TableFacts[]> {
  const { rows } = await client.query<TableFacts>(TABLE_FACTS);
  return rows;
}
