import type pg from "pg";
import type { Question } from "../../src/match/question.ts";
import { rowLiteral } from "../../src/match/row-literal.ts";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import { installWalhook, type WalhookRoles } from "../support/walhook.ts";

/** A webhook as its trigger left it. */
export interface Compiled {
  readonly id: number;
  readonly functionName: string;
  readonly columns: readonly string[];
  readonly usesOld: boolean;
  readonly isImmutable: boolean;
  /** `LEVEL: message` of what its INSERT said. */
  readonly notices: readonly string[];
}

type Row = Readonly<Record<string, string | null>>;

/** A database with Walhook where the tables' owner, the author and the bridge are three roles, none a superuser. */
export interface ConditionWorld {
  readonly db: TestDatabase;
  readonly roles: WalhookRoles;
  readonly bridgeUrl: string;
  /** As the tables' owner. */
  app(sql: string): Promise<void>;
  /** As the author. */
  admin(sql: string, params?: unknown[]): Promise<pg.QueryResult>;
  /** Inserts a webhook as the author. */
  compile(condition: string, doctype?: string, events?: string): Promise<Compiled>;
  /** What Postgres says where it refuses: its message, and its hint. */
  refusal(condition: string, doctype?: string): Promise<string>;
  drop(): Promise<void>;
}

export async function startConditionWorld(label: string): Promise<ConditionWorld> {
  const db = await createDatabase(label);
  const roles = await installWalhook(db);
  await db.query(`
    grant usage, create on schema public to "${roles.app}", "${roles.admin}";
    alter default privileges for role "${roles.app}" grant select on tables to "${roles.admin}"`);
  const app = await db.connect(roles.app);
  const admin = await db.connect(roles.admin);
  const notices: string[] = [];
  admin.on("notice", ({ severity, message }) => notices.push(`${severity}: ${message}`));
  let count = 0;
  const compile = async (condition: string, doctype = "orders", events = "on_update"): Promise<Compiled> => {
    notices.length = 0;
    const { rows } = await admin.query<Record<string, never>>(
      `insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url, condition)
       values ($1, $2, $3, 'https://example.com', $4)
       returning id, condition_function as "functionName", condition_columns as columns,
         condition_uses_old as "usesOld", condition_is_immutable as "isImmutable"`,
      [`w${++count}`, doctype, events, condition],
    );
    return { ...rows[0]!, notices: [...notices] } as unknown as Compiled;
  };
  return {
    db,
    roles,
    bridgeUrl: db.urlAs(roles.bridge),
    app: async (sql) => void (await app.query(sql)),
    admin: (sql, params) => admin.query(sql, params),
    compile,
    refusal: async (condition, doctype) => {
      try {
        await compile(condition, doctype);
      } catch (error) {
        const { message, hint = "" } = error as pg.DatabaseError;
        return `${message} ${hint}`;
      }
      throw new Error(`accepted: ${condition}`);
    },
    drop: async () => {
      await db.drop();
      await roles.drop();
    },
  };
}

/** A question about rows given by column name; a column that is not given is NULL. */
export function question(
  { id, functionName, columns }: Compiled,
  ...rows: readonly { doc?: Row | null; old?: Row | null; event?: string }[]
): Question {
  const literal = (row: Row | null | undefined): string | null =>
    row === null || row === undefined ? null : rowLiteral(columns.map((name) => row[name] ?? null));
  return {
    webhookId: id,
    functionName,
    doc: rows.map(({ doc }) => literal(doc)),
    old: rows.map(({ old }) => literal(old)),
    event: rows.map(({ event }) => event ?? "on_update"),
  };
}
