import type { TestDatabase } from "../support/database.ts";
import { DEFINERS } from "../sql/definers.ts";
import { table } from "./generated.ts";

const ROLES = ["walhook_bridge", "walhook_admin", "walhook_analyst", "walhook_monitor"] as const;

interface RelationRow {
  readonly name: string;
  readonly kind: string;
  readonly rights: Readonly<
    Record<string, readonly { readonly privilege: string; readonly columns: string[] | null }[]>
  >;
  readonly columns: readonly string[];
}

const RELATIONS = `
  select c.relname::text as name, case c.relkind when 'v' then 'view' when 'S' then 'sequence' else 'table' end as kind,
         array(select a.attname::text from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped order by a.attnum) as columns,
         (select coalesce(json_object_agg(r.role, r.rights), '{}') from (
            select g.role, json_agg(json_build_object('privilege', lower(g.privilege), 'columns', g.columns)
                     order by array_position('{SELECT,INSERT,UPDATE,DELETE}', g.privilege)) as rights
              from (
                select x.grantee::regrole::text as role, x.privilege_type as privilege, null::text[] as columns
                  from aclexplode(c.relacl) x where x.grantee <> c.relowner
                union all
                select x.grantee::regrole::text, x.privilege_type, array_agg(a.attname::text order by a.attnum)
                  from pg_attribute a, aclexplode(a.attacl) x where a.attrelid = c.oid group by 1, 2) g
             group by g.role) r) as rights
    from pg_class c
   where c.relnamespace = 'walhook'::regnamespace and c.relkind in ('r', 'p', 'v', 'S') and not c.relispartition
     and (c.relkind <> 'S' or c.relacl is not null)
   order by c.relname`;

/** Every table, view and sequence with what each role may do with it. */
export async function relationRights(db: TestDatabase): Promise<string> {
  const { rows } = await db.query(RELATIONS);
  const cell = ({ rights, columns }: RelationRow, role: string): string =>
    (rights[role] ?? [])
      .map(({ privilege, columns: only }) => {
        if (only === null) return privilege;
        const without = columns.filter((column) => !only.includes(column));
        return without.length < only.length
          ? `${privilege} but for ${without.map((column) => `\`${column}\``).join(", ")}`
          : `${privilege} of ${only.map((column) => `\`${column}\``).join(", ")}`;
      })
      .join(", ");
  return table(
    ["table or view", ...ROLES.map((role) => `\`${role}\``)],
    (rows as RelationRow[]).map((row) => [
      `\`${row.name}\`${row.kind === "table" ? "" : ` (${row.kind})`}`,
      ...ROLES.map((role) => cell(row, role)),
    ]),
  );
}

/** A function with who may call it. */
export interface FunctionRow {
  readonly signature: string;
  readonly roles: readonly string[];
  readonly is_definer: boolean;
  readonly returns_trigger: boolean;
  readonly settings: readonly string[] | null;
}

const FUNCTIONS = `
  select p.proname || '(' || oidvectortypes(p.proargtypes) || ')' as signature, p.prosecdef as is_definer, p.proconfig as settings,
         p.prorettype in ('trigger'::regtype, 'event_trigger'::regtype) as returns_trigger,
         array(select case x.grantee when 0 then 'public' else x.grantee::regrole::text end from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) x
                where x.grantee <> p.proowner order by 1) as roles
    from pg_proc p where p.pronamespace = 'walhook'::regnamespace order by 1`;

/** Every function of schema walhook. */
export async function functionRows(db: TestDatabase): Promise<readonly FunctionRow[]> {
  return (await db.query(FUNCTIONS)).rows as FunctionRow[];
}

/** Every function that a role may call, and by which roles; then those that work as their owner, and why. */
export async function functionRights(db: TestDatabase): Promise<string> {
  const rows = await functionRows(db);
  return table(
    ["function", ...ROLES.map((role) => `\`${role}\``)],
    rows
      .filter(({ roles, returns_trigger }) => roles.length > 0 && !returns_trigger)
      .map(({ signature, roles }) => [`\`${signature}\``, ...ROLES.map((role) => (roles.includes(role) ? "yes" : ""))]),
  );
}

export async function definerReasons(db: TestDatabase): Promise<string> {
  const definers = (await functionRows(db)).filter((row) => row.is_definer);
  return table(
    ["function", "called by", "why as its owner"],
    definers.map(({ signature, roles, returns_trigger }) => [
      `\`${signature}\``,
      returns_trigger
        ? "trigger"
        : roles.map((role) => role.replace("walhook_", "")).join(", ") || "Walhook's own functions",
      DEFINERS[signature] ?? "",
    ]),
  );
}
