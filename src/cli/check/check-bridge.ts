import { PUBLICATIONS } from "../../db/publications.ts";
import type { BridgeFacts, SlotFacts } from "./bridge-facts.ts";
import { formatBytes, ok, problem, warning, type Finding } from "./finding.ts";

/** More than this unread while a bridge reads: it does not keep up. */
const MUCH_LAG_BYTES = 1024 ** 3;

const START_OVER =
  "To accept the gap and go on from the present: update walhook.bridge set slot_name = null; then `walhook install`.";

/**
 * Judges Walhook's own state.
 * @param facts null where Walhook is not installed
 * @param newestSchemaVersion what this program would install
 */
export function checkBridge(facts: BridgeFacts | null, newestSchemaVersion: number): readonly Finding[] {
  if (facts === null) return [problem("schema walhook", "is not installed", "Run `walhook install`.")];
  return [schema(facts, newestSchemaVersion), ...publications(facts), ...slot(facts), bridge(facts), queue(facts)];
}

function schema({ schemaVersion }: BridgeFacts, newest: number): Finding {
  if (schemaVersion === newest) return ok("schema walhook", `version ${schemaVersion}`);
  const what = `version ${schemaVersion}, this program has version ${newest}`;
  return schemaVersion < newest
    ? problem("schema walhook", what, "Run `walhook install`: it upgrades in place.")
    : problem("schema walhook", what, "Run the newer Walhook that installed it.");
}

function publications(facts: BridgeFacts): readonly Finding[] {
  return PUBLICATIONS.filter((name) => !facts.publications.includes(name)).map((name) =>
    problem(
      `publication ${name}`,
      "does not exist: nothing is sent through it, and PostgreSQL 18 says so in its own log alone",
      START_OVER,
    ),
  );
}

function slot(facts: BridgeFacts): readonly Finding[] {
  if (facts.slotName === null) {
    return [problem("replication slot", "was never made", "Run `walhook install`.")];
  }
  const where = `slot ${facts.slotName}`;
  if (facts.isSameSystem === false || facts.isSameDatabase === false) {
    const other = facts.isSameSystem === false ? "server" : "database";
    return [
      problem(
        where,
        `was made on another ${other}: this is a copy or a restored backup`,
        "On a copy whose original lives, nothing must be sent: `walhook uninstall --drop-log`. Else: " + START_OVER,
      ),
    ];
  }
  if (facts.slot === null) {
    return [problem(where, "does not exist any more: changes since then were not seen (a gap)", START_OVER)];
  }
  return judgeSlot(where, facts.slot);
}

function judgeSlot(where: string, { isActive, walStatus, retainedBytes, lagBytes }: SlotFacts): readonly Finding[] {
  const retained = retainedBytes === null ? "an unknown amount of WAL" : `${formatBytes(retainedBytes)} of WAL`;
  if (walStatus === "lost") return [problem(where, "is lost: the WAL that it needs was removed (a gap)", START_OVER)];
  if (walStatus === "unreserved") {
    return [
      problem(
        where,
        `retains ${retained} and is about to be lost`,
        "Start `walhook run` now, or raise max_slot_wal_keep_size and SELECT pg_reload_conf();",
      ),
    ];
  }
  if (!isActive) return [warning(where, `is read by nobody and retains ${retained}`, "Start `walhook run`.")];
  if (lagBytes !== null && lagBytes > MUCH_LAG_BYTES) {
    return [
      warning(
        where,
        `is read, ${formatBytes(lagBytes)} behind`,
        "Look for a long transaction (pg_stat_activity) or a bridge that cannot keep up.",
      ),
    ];
  }
  return [ok(where, `is read, ${formatBytes(lagBytes ?? 0)} behind, retains ${retained}`)];
}

function bridge({ state, lastError }: BridgeFacts): Finding {
  if (state === "running" || state === "new" || state === "stopped") return ok("bridge", state);
  return problem("bridge", `${state}: ${lastError ?? "no reason recorded"}`, "See the message, then `walhook run`.");
}

function queue({ queuedDeliveries }: BridgeFacts): Finding {
  if (queuedDeliveries === 0) return ok("queue", "empty");
  return warning(
    "queue",
    `${queuedDeliveries} deliveries wait`,
    "select webhook_id, docname, attempts, due_at, last_error from walhook.webhook_queue order by due_at;",
  );
}
