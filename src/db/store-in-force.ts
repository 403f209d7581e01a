import type pg from "pg";

type TextRow = Readonly<Record<string, string | null>>;

/** Every value as Postgres' own text, as the replication stream carries it; the driver's parsers stay out. */
const AS_TEXT = {
  getTypeParser:
    () =>
    (text: string): string =>
      text,
};

/**
 * Writes into `walhook.webhook_in_force` the configuration that the current snapshot shows, for a new slot:
 * what is there already belongs to an older one.
 * @param client inside a transaction, with the pinned text settings
 * @returns how many webhooks there are, enabled or not
 */
export async function storeInForce(client: pg.Client): Promise<number> {
  const webhooks = await readTable(client, "webhook", "id");
  const headers = await readTable(client, "webhook_header", "id");
  const data = await readTable(client, "webhook_data", "id");
  const secrets = await readTable(client, "webhook_secret", "id");
  await client.query("delete from walhook.webhook_in_force");
  for (const webhook of webhooks) {
    const id = webhook["id"];
    const isIts = (row: TextRow): boolean => row["webhook_id"] === id;
    const definition = {
      webhook,
      headers: headers.filter(isIts),
      data: data.filter(isIts),
      secrets: secrets.filter(isIts),
    };
    await client.query("insert into walhook.webhook_in_force (webhook_id, definition) values ($1, $2)", [
      id,
      JSON.stringify(definition),
    ]);
  }
  return webhooks.length;
}

async function readTable(client: pg.Client, table: string, order: string): Promise<readonly TextRow[]> {
  // Whole rows on purpose: what pgoutput sends is every column, too.
  const { rows } = await client.query<TextRow>({
    text: `select * from walhook.${table} order by ${order}`,
    types: AS_TEXT,
  });
  return rows;
}
