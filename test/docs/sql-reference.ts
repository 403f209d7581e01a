import type { TestDatabase } from "../support/database.ts";
import { table } from "./generated.ts";

/** Columns of a table or view. */
interface Relation {
  readonly name: string;
  readonly kind: string;
  readonly comment: string | null;
  readonly is_public: boolean;
  readonly columns: readonly {
    readonly name: string;
    readonly type: string;
    readonly default: string | null;
    readonly comment: string | null;
  }[];
}

interface Routine {
  readonly name: string;
  readonly arguments: string;
  readonly result: string;
  readonly comment: string | null;
  readonly roles: readonly string[];
}

const RELATIONS = `
  select c.relname::text as name, case c.relkind when 'v' then 'view' when 'c' then 'type' else 'table' end as kind, coalesce(obj_description(c.oid, 'pg_class'), obj_description(c.reltype, 'pg_type')) as comment,
         c.relkind = 'c' or exists (select from aclexplode(c.relacl) x where x.grantee <> c.relowner and x.grantee::regrole::text <> 'walhook_bridge')
           or exists (select from pg_attribute a, aclexplode(a.attacl) x where a.attrelid = c.oid and x.grantee::regrole::text <> 'walhook_bridge') as is_public,
         (select json_agg(json_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod),
                   'default', pg_get_expr(d.adbin, d.adrelid), 'comment', col_description(c.oid, a.attnum)) order by a.attnum)
            from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
           where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) as columns
    from pg_class c
   where c.relnamespace = 'walhook'::regnamespace and c.relkind in ('r', 'p', 'v', 'c') and not c.relispartition
   order by c.relname`;

const ROUTINES = `
  select p.proname::text as name, pg_get_function_arguments(p.oid) as arguments, pg_get_function_result(p.oid) as result, obj_description(p.oid, 'pg_proc') as comment,
         array(select replace(x.grantee::regrole::text, 'walhook_', '') from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) x
                where x.grantee <> p.proowner and x.grantee <> 0 order by 1) as roles
    from pg_proc p
   where p.pronamespace = 'walhook'::regnamespace and p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype) order by 1, 2`;

/** Tables, views and types of schema walhook. */
export async function relations(db: TestDatabase): Promise<readonly Relation[]> {
  return (await db.query(RELATIONS)).rows as Relation[];
}

/** Its functions, without those of triggers. */
export async function routines(db: TestDatabase): Promise<readonly Routine[]> {
  return (await db.query(ROUTINES)).rows as Routine[];
}

/** Each of the tables, or of the views, that somebody beside the bridge may use, with its columns. */
export async function relationPages(db: TestDatabase, kinds: readonly string[]): Promise<string> {
  const found = (await relations(db)).filter(({ kind, is_public }) => is_public && kinds.includes(kind));
  return found
    .map(({ name, comment, columns, kind }) =>
      [
        `### ${name}`,
        comment ?? "",
        table(
          kind === "table" ? ["column", "type", "default", ""] : ["column", "type", ""],
          columns.map((column) => [
            `\`${column.name}\``,
            column.type,
            ...(kind === "table"
              ? [column.default === null || column.default.startsWith("nextval") ? "" : `\`${column.default}\``]
              : []),
            column.comment ?? "",
          ]),
        ),
      ].join("\n\n"),
    )
    .join("\n\n");
}

/** Functions that a person may call, with who. */
export async function functionPages(db: TestDatabase): Promise<string> {
  const found = (await routines(db)).filter((routine) => isForPeople(routine));
  return found
    .map(({ name, arguments: list, result, comment, roles }) =>
      [
        `### ${name}`,
        ["```sql", `walhook.${name}(${list.replaceAll("pg_catalog.", "")}) returns ${result}`, "```"].join("\n"),
        `${comment ?? ""} For ${roles.filter((role) => role !== "bridge").join(", ")}.`,
      ].join("\n\n"),
    )
    .join("\n\n");
}

/** Parts of others, which a role may call because a function of the caller's rights calls them. */
const PARTS = new Set([
  "ask_bridge",
  "ask_for_repair",
  "author_problem",
  "base_type",
  "change_secret",
  "check_secret",
  "check_stretch",
  "compile_condition",
  "condition_answers",
  "condition_hint",
  "condition_is_stale",
  "condition_names",
  "condition_query",
  "condition_source",
  "create_as",
  "default_cloudevents_source",
  "docname_as_logged",
  "doctype_problems",
  "emit",
  "facts_of_delivery",
  "find_doctype",
  "is_short_name",
  "key_condition",
  "nearest_event",
  "next_condition_revision",
  "question_about",
  "replayable",
  "require_bridge",
  "template_problem",
  "template_warnings",
  "toasted_columns",
  "uri_part",
  "webhook_number",
  "whole_question",
  "with_condition",
  "without_payload",
]);

function isForPeople({ name, roles }: Routine): boolean {
  return roles.some((role) => role !== "bridge") && !PARTS.has(name);
}
