import type pg from "pg";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import { installWalhook, type WalhookRoles } from "../support/walhook.ts";

/** What Postgres says when it refuses a statement. */
export interface Refusal {
  readonly message: string;
  readonly hint: string | undefined;
  readonly code: string | undefined;
}

/** A database with Walhook installed, and a connection for each of three people, none of them a superuser. */
export interface WatchedDatabase {
  readonly db: TestDatabase;
  readonly roles: WalhookRoles;
  /** Configures webhooks. */
  readonly admin: pg.Client;
  /** Owns the application's tables. */
  readonly app: pg.Client;
  rows(sql: string, params?: readonly unknown[]): Promise<readonly Record<string, unknown>[]>;
  /** Inserts a webhook as admin; the rest of its columns as SQL. */
  webhook(name: string, doctype: string, events: string, more?: Readonly<Record<string, unknown>>): Promise<void>;
  drop(): Promise<void>;
}

export async function watchedDatabase(label: string): Promise<WatchedDatabase> {
  const db = await createDatabase(label);
  const roles = await installWalhook(db);
  await db.query(
    `grant create, usage on schema public to "${roles.app}"; grant usage on schema public to "${roles.admin}"`,
  );
  await db.query(`alter default privileges for role "${roles.app}" grant select on tables to "${roles.admin}"`);
  const [admin, app] = [await db.connect(roles.admin), await db.connect(roles.app)];
  return {
    db,
    roles,
    admin,
    app,
    rows: async (sql, params) => (await db.query(sql, params)).rows as Record<string, unknown>[],
    webhook: async (name, doctype, events, more = {}) => {
      const columns = { request_url: "https://example.com/hook", ...more };
      const names = Object.keys(columns);
      await admin.query(
        `insert into walhook.webhook (name, webhook_doctype, webhook_docevent, ${names.join(", ")})
         values ($1, $2, $3, ${names.map((_, i) => `$${i + 4}`).join(", ")})`,
        [name, doctype, events, ...Object.values(columns)],
      );
    },
    drop: async () => {
      await db.drop();
      await roles.drop();
    },
  };
}

/** What a statement is refused with; throws where it is not refused. */
export async function refusal(statement: Promise<unknown>): Promise<Refusal> {
  try {
    await statement;
  } catch (error) {
    const { message, hint, code } = error as Refusal;
    return { message, hint, code };
  }
  throw new Error("the statement was not refused");
}

/** What a connection is told meanwhile. */
export function notices(client: pg.Client): readonly string[] {
  const heard: string[] = [];
  client.on("notice", ({ message }) => heard.push(message ?? ""));
  return heard;
}
