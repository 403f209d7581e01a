import { gapRemedy } from "../../slot/gap.ts";
import { formatLsn } from "../../replication/lsn.ts";
import type { BridgeFacts, SlotFacts } from "./bridge-facts.ts";
import { formatBytes, ok, problem, warning, type Finding } from "./finding.ts";

/** More than this unread while a bridge reads: it does not keep up. */
const MUCH_LAG_BYTES = 1024 ** 3;

/**
 * Judges Walhook's own state.
 * @param facts null where Walhook is not installed
 * @param newestSchemaVersion what this program would install
 */
export function checkBridge(facts: BridgeFacts | null, newestSchemaVersion: number): readonly Finding[] {
  if (facts === null) return [problem("schema walhook", "is not installed", "Run `walhook install`.")];
  return [schema(facts, newestSchemaVersion), ...gap(facts), ...slot(facts), bridge(facts), queue(facts)];
}

function schema({ schemaVersion }: BridgeFacts, newest: number): Finding {
  if (schemaVersion === newest) return ok("schema walhook", `version ${schemaVersion}`);
  const what = `version ${schemaVersion}, this program has version ${newest}`;
  return schemaVersion < newest
    ? problem("schema walhook", what, "Run `walhook install`: it upgrades in place.")
    : problem("schema walhook", what, "Run the newer Walhook that installed it.");
}

function gap({ gap: found }: BridgeFacts): readonly Finding[] {
  if (found === null) return [];
  const { kind, message, fromLsn, toLsn } = found;
  const from = fromLsn === null ? "" : ` since ${formatLsn(fromLsn)}`;
  const to = toLsn === null ? "" : ` up to ${formatLsn(toLsn)}`;
  return [problem("gap", `${kind}: ${message}; changes${from}${to} may be missing`, gapRemedy(kind))];
}

function slot(facts: BridgeFacts): readonly Finding[] {
  if (facts.slotName === null) {
    return [problem("replication slot", "was never made", "Run `walhook install`.")];
  }
  const isLost = facts.slot === null || facts.slot.walStatus === "lost";
  return isLost ? [] : checkSlot(`slot ${facts.slotName}`, facts.slot);
}

function checkSlot(where: string, { isActive, walStatus, retainedBytes, lagBytes }: SlotFacts): readonly Finding[] {
  const retained = retainedBytes === null ? "an unknown amount of WAL" : `${formatBytes(retainedBytes)} of WAL`;
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

function bridge({ state, lastError, slot: found }: BridgeFacts): Finding {
  if (state === "running" && found?.isActive === false) {
    return problem(
      "bridge",
      "was running, and nobody reads the slot now: it was killed, or cut off",
      "Start `walhook run`.",
    );
  }
  // A gap is a finding of its own.
  if (state === "running" || state === "new" || state === "stopped" || state === "gap") return ok("bridge", state);
  return problem("bridge", `${state}: ${lastError ?? "no reason recorded"}`, "See the message, then `walhook run`.");
}

function queue({ queuedDeliveries }: BridgeFacts): Finding {
  if (queuedDeliveries === 0) return ok("queue", "empty");
  return warning(
    "queue",
    `${queuedDeliveries} deliveries wait`,
    "select webhook, docname, attempts, due_at, last_error from walhook.webhook_queue where not is_dead order by due_at;",
  );
}
