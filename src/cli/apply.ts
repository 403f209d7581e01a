import { connect, displayUrl } from "../db/connection.ts";
import { ADMIN_HINT, explain } from "../errors.ts";
import type { Command } from "./command.ts";
import { readInput, usageError } from "./input.ts";
import { printable } from "./printable.ts";
import { applyWebhooks } from "./webhook-file/apply-webhooks.ts";
import { readWebhooks } from "./webhook-file/read-webhooks.ts";
import { chosenColumns } from "./webhook-file/stored-webhook.ts";

/** `walhook apply FILE`: the configuration from a file. */
export const apply: Command = {
  name: "apply",
  summary: "makes the webhooks those of a YAML file; --dry-run shows what would change",
  description: [
    "Adds and changes webhooks until they are as the file says, in one transaction: all of it or nothing. Prints what " +
      "changes. Again, it changes nothing. Webhooks that are not in the file are left alone, unless --prune. What the file " +
      "does not name has its default, but for cloudevents_source.",
    "Secrets stand in the file by reference only: env:WALHOOK_SECRET_… or file:…, which the bridge reads. A secret whose text " +
      "the database has is left alone, whatever the file says; walhook.rotate_secret changes it.",
    "Who applies a file becomes the author of the webhooks that change: a role like walhook_admin, with SELECT on their tables.",
  ],
  operand: { unit: "FILE", help: "a file as `walhook export` prints it; - for standard input" },
  options: ["databaseUrl"],
  switches: [
    { flag: "dry-run", help: "changes nothing; all is checked by the database as if it did" },
    { flag: "prune", help: "deletes the webhooks that are not in the file" },
  ],
  examples: ["walhook apply webhooks.yaml --dry-run", "walhook apply webhooks.yaml"],
  exitCodes: [],
  run: async ({ config, values, switches, print }) => {
    const file = values["FILE"];
    if (file === undefined) throw usageError("no file given", "walhook apply webhooks.yaml; - reads standard input.");
    const text = (await readInput(file)).toString("utf8");
    const isTrial = switches.has("dry-run");
    const client = await connect(config.databaseUrl, "walhook apply");
    try {
      const known = [...(await chosenColumns(client)).keys()];
      const wanted = readWebhooks(text, file, known);
      await client.query("begin");
      const { lines, added, changed, deleted, unchanged } = await applyWebhooks(client, wanted, {
        file,
        prune: switches.has("prune"),
      });
      await client.query(isTrial ? "rollback" : "commit");
      for (const line of lines) print(printable(line));
      print(
        `${isTrial ? "would add" : "added"} ${added}, ${isTrial ? "change" : "changed"} ${changed}, ${isTrial ? "delete" : "deleted"} ${deleted}; ${unchanged} are as the file says`,
      );
      return 0;
    } catch (error) {
      throw explain(error, `applying ${file} to ${displayUrl(config.databaseUrl)}`, ADMIN_HINT);
    } finally {
      await client.end();
    }
  },
};
