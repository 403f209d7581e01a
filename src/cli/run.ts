import { OPTION_NAMES } from "../config.ts";
import { connect, displayUrl } from "../db/connection.ts";
import { ensureBridgeSlot } from "../slot/create-bridge-slot.ts";
import { classify, EXIT_CODES, explain } from "../errors.ts";
import { formatLsn } from "../replication/lsn.ts";
import { VERSION } from "../version.ts";
import type { Command, CommandContext } from "./command.ts";
import { logActivity, logWaits } from "./log-activity.ts";
import { listenForStop, type StopSignal } from "./stop-signal.ts";

/** `walhook run`: the bridge, until it is told to stop. */
export const run: Command = {
  name: "run",
  summary: "delivers webhooks until it is stopped",
  description: [
    "Reads committed changes from the replication slot and delivers them. One process a database is enough; a second " +
      "one waits and takes over when the first is gone.",
    "While the database is down it waits and tries again. Where somebody has to act (a right is missing, the slot is " +
      "lost), it ends with a message; the same stands in walhook.bridge.last_error.",
    "SIGTERM and SIGINT (Ctrl-C) end it within 10 s: requests under way are awaited, all is written down, and the slot " +
      "is told. A second signal ends it at once; nothing is lost then either.",
    "Needs a role with REPLICATION that is a member of walhook_bridge (see `walhook check`).",
  ],
  options: OPTION_NAMES,
  switches: [],
  examples: [
    "walhook run",
    "walhook run --log-format json --concurrency-per-webhook 200",
    "walhook run --database-url postgresql://pooler:6432/shop --replication-url postgresql://db/shop",
  ],
  exitCodes: [
    "0    stopped as asked",
    "1    it could not stop within 10 s, or an error that nobody foresaw",
    "2    wrong flag or option",
    "3    the database is not as it must be: act as the message says, then start again",
    "4    the database was busy in a way that starting again can mend",
    "5    a gap: changes may be missing from the stream; see `walhook accept-gap`",
    "6    another bridge took over while this one was frozen or cut off: start again, it waits",
    "130  a second SIGINT, 143 a second SIGTERM: ended at once",
  ],
  run: async (context) => {
    const { log, config } = context;
    log("info", "walhook starts", { version: VERSION, database: displayUrl(config.databaseUrl) });
    const stop = listenForStop((signal) => log("info", `${signal}: stopping; once more to end at once`));
    try {
      if (!(await prepareSlot(context, stop))) return 0;
      return await deliverUntil(stop, context);
    } catch (error) {
      throw explain(error, `running on ${displayUrl(config.databaseUrl)}`);
    } finally {
      stop.close();
    }
  },
};

async function deliverUntil(stop: StopSignal, { config, log }: CommandContext): Promise<number> {
  // Loaded here alone: the other commands, and --help, do without the engine.
  const { createBridge } = await import("../bridge.ts");
  const bridge = createBridge(config);
  bridge.activity.subscribe(logActivity(log));
  const stopping = stop.requested.then(() => Promise.race([bridge.stop().then(() => true), stop.overdue]));
  const started = bridge.start();
  started.catch(() => {});
  const isInTime = await Promise.race([bridge.done.then(() => true), stopping]);
  if (isInTime) return 0;
  log("error", "not stopped within 10 s; what was under way is sent again at the next start");
  return EXIT_CODES.problem;
}

const RETRY_EVERY_MS = 2000;

/**
 * Makes the slot where the schema was installed with psql and there is none yet. Waits for a database that is down.
 * @returns false where it was told to stop first
 */
async function prepareSlot({ config, log }: CommandContext, stop: StopSignal): Promise<boolean> {
  const waits = logWaits(log);
  while (!stop.signal.aborted) {
    try {
      if (await needsSlot(config.databaseUrl)) {
        const slot = await ensureBridgeSlot(config.replicationUrl);
        if (slot.kind === "created") {
          const at = formatLsn(slot.consistentPoint);
          log("info", "replication slot made", { slot: slot.slotName, at, webhooks: slot.webhooks });
        }
      }
      return true;
    } catch (error) {
      if (classify(error).kind === "fatal") throw error;
      waits(error);
      await stop.sleep(RETRY_EVERY_MS);
    }
  }
  return false;
}

async function needsSlot(url: string): Promise<boolean> {
  const client = await connect(url, "walhook run");
  try {
    const { rows } = await client.query<{ slot_name: string | null }>("select slot_name from walhook.bridge");
    return rows[0]?.slot_name === null;
  } finally {
    await client.end();
  }
}
