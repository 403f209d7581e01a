import type pg from "pg";
import type { Config } from "../config.ts";
import { connect, displayUrl } from "../db/connection.ts";
import { migrationFiles } from "../db/migrate.ts";
import { AddressGuard } from "../deliver/address-guard.ts";
import { KeyRing } from "../deliver/key-ring.ts";
import { DatabaseEndpoints } from "../deliver/database-endpoints.ts";
import { TlsProfiles } from "../deliver/tls-profiles.ts";
import { EXIT_CODES, explain } from "../errors.ts";
import { checkDeliveries } from "./check/check-deliveries.ts";
import { readDeliveryFacts } from "./check/delivery-facts.ts";
import { readBridgeFacts } from "./check/bridge-facts.ts";
import { checkBridge } from "./check/check-bridge.ts";
import { checkServer } from "./check/check-server.ts";
import { checkAuthors, checkTables } from "./check/check-tables.ts";
import { checkWebhooks, type Surroundings } from "./check/check-webhooks.ts";
import type { Finding } from "./check/finding.ts";
import { readServerFacts } from "./check/server-facts.ts";
import { readAuthorFacts, readTableFacts } from "./check/table-facts.ts";
import { readWebhookFacts } from "./check/webhook-facts.ts";
import type { Command, CommandContext } from "./command.ts";

/** `walhook check`: looks at everything that delivering depends on. */
export const check: Command = {
  name: "check",
  summary: "looks for what keeps events from being delivered, and says how to mend it",
  description: [
    "Looks at the server (version, wal_level, free slots and senders), the role's rights, the schema's version, the " +
      "slot (there, being read, how much WAL it retains), gaps in the stream, each watched table (published as its " +
      "webhooks need, key, replica identity of the table and every partition, rights), the authors' rights, and the " +
      "clocks. Each finding comes with its remedy. Nothing is changed.",
    "Of each enabled webhook: whether its URL's name resolves, whether the address guard lets its requests go there " +
      "(and if not, by which rule and setting), and whether its certificates and secrets can be read. No request is sent. " +
      "Give it the options and environment that `walhook run` has, on the machine where that runs.",
  ],
  options: [
    "databaseUrl",
    "replicationUrl",
    "addressMode",
    "allowAddresses",
    "denyAddresses",
    "secretsFolder",
    "tlsDirectory",
  ],
  switches: [],
  examples: ["walhook check", "walhook check && echo fine"],
  exitCodes: [
    "0  no problem (warnings may be)",
    "1  at least one problem",
    "2  wrong flag or option",
    "3  the login is refused",
    "4  the database could not be reached",
  ],
  run: async ({ config, env, print }) => {
    const client = await connect(config.databaseUrl, "walhook check");
    try {
      const server = await readServerFacts(client);
      const newest = (await migrationFiles()).at(-1)?.version ?? 0;
      const bridge = await readBridgeFacts(client, newest);
      const findings = [
        ...checkServer(server, bridge?.slot != null, bridge?.slot?.isActive ?? false),
        ...checkBridge(bridge, newest),
        ...(bridge === null ? [] : checkTables(await readTableFacts(client))),
        ...(bridge === null ? [] : checkAuthors(await readAuthorFacts(client))),
        // Columns of webhooks may be others in another version.
        ...(bridge?.schemaVersion === newest ? checkDeliveries(await readDeliveryFacts(client)) : []),
        ...(bridge?.schemaVersion === newest
          ? await checkWebhooks(await readWebhookFacts(client), await surroundings(client, config, env))
          : []),
      ];
      for (const finding of findings) for (const line of describe(finding)) print(line);
      const problems = findings.filter((finding) => finding.level === "problem").length;
      const warnings = findings.filter((finding) => finding.level === "warning").length;
      print(`${count(problems, "problem")}, ${count(warnings, "warning")}`);
      return problems === 0 ? 0 : EXIT_CODES.problem;
    } catch (error) {
      throw explain(error, `checking ${displayUrl(config.databaseUrl)}`, RIGHTS_HINT);
    } finally {
      await client.end();
    }
  },
};

const RIGHTS_HINT = "Run it as the bridge's login. People ask the database: select * from walhook.status;";

/** What the bridge goes by. Throws a WalhookError `bad_option` for a list of addresses that is none. */
async function surroundings(client: pg.Client, config: Config, env: CommandContext["env"]): Promise<Surroundings> {
  const own = new DatabaseEndpoints([config.databaseUrl, config.replicationUrl]);
  await own.refresh();
  own.notePeer(client);
  const { addressMode: mode, allowAddresses: allow, denyAddresses: deny } = config;
  return {
    guard: new AddressGuard({ mode, allow, deny, own }),
    profiles: new TlsProfiles(config.tlsDirectory),
    keys: new KeyRing({ env, folder: config.secretsFolder }),
    env,
  };
}

function describe({ level, where, what, remedy }: Finding): readonly string[] {
  const line = `${level.padEnd(7)}  ${where}: ${what}`;
  return remedy === null ? [line] : [line, `         -> ${remedy}`];
}

function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? "" : "s"}`;
}
