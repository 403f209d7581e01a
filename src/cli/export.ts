import { connect, displayUrl } from "../db/connection.ts";
import { ADMIN_HINT, explain } from "../errors.ts";
import type { Command } from "./command.ts";
import { chosenColumns, storedWebhooks } from "./webhook-file/stored-webhook.ts";
import { writeWebhooks } from "./webhook-file/write-webhooks.ts";

/** `walhook export`: the configuration as a file. */
export const exportCommand: Command = {
  name: "export",
  summary: "prints the webhooks as YAML, for `walhook apply`",
  description: [
    "Prints every webhook with its header and data rows as YAML, without what has its default. Secrets are there by " +
      "reference (env:, file:); in place of one whose text stands in the database there is a placeholder, with a comment. " +
      "Header values are printed as they are.",
  ],
  options: ["databaseUrl"],
  switches: [],
  examples: ["walhook export > webhooks.yaml"],
  exitCodes: [],
  run: async ({ config, print }) => {
    const client = await connect(config.databaseUrl, "walhook export");
    try {
      // Tables with their schemas: the file may be applied by somebody with another search_path.
      await client.query(
        "begin transaction isolation level repeatable read read only; set local search_path = pg_catalog",
      );
      const defaults = await chosenColumns(client);
      print(writeWebhooks(await storedWebhooks(client, defaults.keys()), defaults).trimEnd());
      return 0;
    } catch (error) {
      throw explain(error, `exporting from ${displayUrl(config.databaseUrl)}`, ADMIN_HINT);
    } finally {
      await client.end();
    }
  },
};
