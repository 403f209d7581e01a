import type pg from "pg";
import { readDefinitions } from "./read-definitions.ts";

/**
 * Writes into `walhook.webhook_in_force` the configuration that the current snapshot shows, for a new slot:
 * what is there already belongs to an older one.
 * @param client inside a transaction, with the pinned text settings
 * @returns how many webhooks there are, enabled or not
 */
export async function storeInForce(client: pg.Client): Promise<number> {
  const definitions = await readDefinitions(client, null);
  await client.query("delete from walhook.webhook_in_force");
  for (const [id, definition] of definitions) {
    await client.query("insert into walhook.webhook_in_force (webhook_id, definition) values ($1, $2)", [
      id,
      JSON.stringify(definition),
    ]);
  }
  return definitions.size;
}
