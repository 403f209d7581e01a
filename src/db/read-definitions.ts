import type pg from "pg";
import { pinStatements } from "./connection.ts";
import type { ColumnTexts, WebhookDefinition } from "./schema.ts";

/** Every value as Postgres' own text, as the replication stream carries it; the driver's parsers stay out. */
const AS_TEXT = {
  getTypeParser:
    () =>
    (text: string): string =>
      text,
};

/**
 * The configuration that the current snapshot shows, in the form of `webhook_in_force.definition`, by webhook number.
 * @param client inside a transaction, with the pinned text settings
 * @param only the number of one webhook; null: all
 * @param withSecrets false for a role that may not read them
 */
export async function readDefinitions(
  client: pg.ClientBase,
  only: number | null,
  withSecrets = true,
): Promise<ReadonlyMap<number, WebhookDefinition>> {
  const webhooks = await readTable(client, "webhook", "id", only);
  const headers = await readTable(client, "webhook_header", "webhook_id", only);
  const data = await readTable(client, "webhook_data", "webhook_id", only);
  const secrets = withSecrets ? await readTable(client, "webhook_secret", "webhook_id", only) : [];
  const paused = await readPaused(client);
  return new Map(
    webhooks.map((webhook) => {
      const isIts = (row: ColumnTexts): boolean => row["webhook_id"] === webhook["id"];
      const definition = {
        webhook,
        headers: headers.filter(isIts),
        data: data.filter(isIts),
        secrets: secrets.filter(isIts),
        ...(paused.has(webhook["id"] ?? "") ? { isPaused: true } : {}),
      };
      return [Number(webhook["id"]), definition];
    }),
  );
}

/** The same for one webhook, in a transaction of its own; null where there is none. */
export async function readDefinition(
  client: pg.ClientBase,
  webhookId: number,
  withSecrets = true,
): Promise<WebhookDefinition | null> {
  const limits = "set local lock_timeout = '1s'; set local statement_timeout = '5s'";
  await client.query(`begin isolation level repeatable read read only; ${limits}; ${pinStatements("local")}`);
  try {
    return (await readDefinitions(client, webhookId, withSecrets)).get(webhookId) ?? null;
  } finally {
    await client.query("rollback");
  }
}

async function readPaused(client: pg.ClientBase): Promise<ReadonlySet<string>> {
  const { rows } = await client.query<{ id: string }>("select webhook_id::text as id from walhook.paused");
  return new Set(rows.map(({ id }) => id));
}

async function readTable(
  client: pg.ClientBase,
  table: string,
  key: string,
  only: number | null,
): Promise<readonly ColumnTexts[]> {
  // Whole rows on purpose: what pgoutput sends is every column, too.
  const { rows } = await client.query<ColumnTexts>({
    text: `select * from walhook.${table} where $1::integer is null or ${key} = $1 order by id`,
    values: [only],
    types: AS_TEXT,
  });
  return rows;
}
