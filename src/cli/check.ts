import { connect, displayUrl } from "../db/connection.ts";
import { migrationFiles } from "../db/migrate.ts";
import { EXIT_CODES, explain } from "../errors.ts";
import { readBridgeFacts } from "./check/bridge-facts.ts";
import { checkBridge } from "./check/check-bridge.ts";
import { checkServer } from "./check/check-server.ts";
import { checkAuthors, checkTables } from "./check/check-tables.ts";
import type { Finding } from "./check/finding.ts";
import { readServerFacts } from "./check/server-facts.ts";
import { readAuthorFacts, readTableFacts } from "./check/table-facts.ts";
import type { Command } from "./command.ts";

/** `walhook check`: looks at everything that delivering depends on. */
export const check: Command = {
  name: "check",
  summary: "looks for what keeps events from being delivered, and says how to mend it",
  description: [
    "Looks at the server (version, wal_level, free slots and senders), the role's rights, the schema's version, the " +
      "slot (there, being read, how much WAL it retains), gaps in the stream, each watched table (published as its " +
      "webhooks need, key, replica identity of the table and every partition, rights), the authors' rights, and the " +
      "clocks. Each finding comes with its remedy. Nothing is changed.",
  ],
  options: ["databaseUrl"],
  switches: [],
  examples: ["walhook check", "walhook check && echo fine"],
  exitCodes: [
    "0  no problem (warnings may be)",
    "1  at least one problem",
    "2  wrong flag or option",
    "3  the login is refused",
    "4  the database could not be reached",
  ],
  run: async ({ config, print }) => {
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
      ];
      for (const finding of findings) for (const line of describe(finding)) print(line);
      const problems = findings.filter((finding) => finding.level === "problem").length;
      const warnings = findings.filter((finding) => finding.level === "warning").length;
      print(`${count(problems, "problem")}, ${count(warnings, "warning")}`);
      return problems === 0 ? 0 : EXIT_CODES.problem;
    } catch (error) {
      throw explain(error, `checking ${displayUrl(config.databaseUrl)}`);
    } finally {
      await client.end();
    }
  },
};

function describe({ level, where, what, remedy }: Finding): readonly string[] {
  const line = `${level.padEnd(7)}  ${where}: ${what}`;
  return remedy === null ? [line] : [line, `         -> ${remedy}`];
}

function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? "" : "s"}`;
}
