import { connect, displayUrl } from "../db/connection.ts";
import { acceptGap as accept, readOpenGap } from "../slot/accept-gap.ts";
import { EXIT_CODES, explain } from "../errors.ts";
import { describeAccepted, describeGap } from "./accept-gap-text.ts";
import type { Command } from "./command.ts";

const YES = "yes";
const REASON = "reason";

/** `walhook accept-gap`: shows what may be missing from the stream, and goes on when a person says so. */
export const acceptGap: Command = {
  name: "accept-gap",
  summary: "shows a gap in the stream; with --yes accepts it, on the record, and lets the bridge go on",
  description: [
    "A gap means that committed changes may never have reached Walhook: the slot was dropped, invalidated, advanced or " +
      "made anew, the database is a copy or a restored backup, a publication was dropped or changed, or a watched " +
      "table was taken out of it. The bridge then stops and does not start again by itself.",
    "Without --yes it prints the gap (its kind, the range of LSNs, what it means, what would be done) and changes nothing.",
    "With --yes it makes the publications good again and, where the slot cannot go on, makes a new one that begins now, " +
      "with the configuration of that moment. Log and queue stay. Who accepted what stands in walhook.gap.",
    "Run it as the role that installed Walhook, or as a superuser; a new slot alone needs no more than the bridge's role.",
  ],
  options: ["databaseUrl", "replicationUrl"],
  switches: [{ flag: YES, help: "accept the gap and go on" }],
  values: [{ flag: REASON, unit: "text", help: "why it was accepted, kept in walhook.gap" }],
  examples: ["walhook accept-gap", "walhook accept-gap --yes --reason 'slot dropped, orders checked by hand'"],
  exitCodes: [
    "0  no gap, or accepted",
    "2  wrong flag or option",
    "3  not possible as things are: a bridge is at work, a right is missing; act as the message says",
    "4  the database could not be reached or was busy",
    "5  there is a gap, and --yes was not given",
  ],
  run: async ({ config, switches, values, print }) => {
    const url = config.replicationUrl;
    const client = await connect(url, "walhook accept-gap");
    try {
      if (switches.has(YES)) {
        const accepted = await accept(client, url, values[REASON] ?? null);
        for (const line of accepted === null ? [NO_GAP] : describeAccepted(accepted)) print(line);
        return 0;
      }
      const open = await readOpenGap(client);
      for (const line of open === null ? [NO_GAP] : describeGap(open)) print(line);
      return open === null ? 0 : EXIT_CODES.gap;
    } catch (error) {
      throw explain(error, `accepting a gap in ${displayUrl(url)}`, RIGHTS_HINT);
    } finally {
      await client.end();
    }
  },
};

const RIGHTS_HINT = "Run it as the bridge's login, or as the role that installed Walhook.";

const NO_GAP =
  "no gap: the slot stands where Walhook left it, and the publications hold what the webhooks need; nothing done";
