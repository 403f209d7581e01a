import { ENCODING_HINT, storesAnyText } from "../../db/encoding.ts";
import { ok, problem, warning, type Finding } from "./finding.ts";
import type { ServerFacts } from "./server-facts.ts";

const OLDEST_VERSION = 140_000;
const NEWEST_MAJOR = 18;
/** Receivers refuse signatures whose time is more than 5 minutes off; a clock that drifts shows long before. */
const MAX_SKEW_MS = 5000;

/**
 * Judges the server, the role and the clocks.
 * @param hasSlot whether Walhook's slot exists already: then it needs no free one, and its reader's place is taken
 * @param isSlotActive whether a bridge reads it now
 */
export function checkServer(facts: ServerFacts, hasSlot: boolean, isSlotActive: boolean): readonly Finding[] {
  return [
    version(facts),
    walLevel(facts),
    encoding(facts),
    slots(facts, hasSlot),
    senders(facts, isSlotActive),
    rights(facts),
    retention(facts),
    clock(facts),
  ];
}

function version({ versionNumber, isInRecovery }: ServerFacts): Finding {
  const major = Math.trunc(versionNumber / 10_000);
  const what = `PostgreSQL ${major}.${versionNumber % 10_000}`;
  if (versionNumber < OLDEST_VERSION) return problem("server", what, "Walhook needs PostgreSQL 14 or later.");
  if (isInRecovery) return problem("server", `${what}, a standby`, "Point DATABASE_URL at the primary.");
  if (major > NEWEST_MAJOR) {
    return warning("server", `${what}: newer than Walhook was tested with`, "See whether a newer Walhook exists.");
  }
  return ok("server", what);
}

function walLevel({ walLevel: level }: ServerFacts): Finding {
  if (level === "logical") return ok("wal_level", level);
  return problem(
    "wal_level",
    level,
    "As a superuser: ALTER SYSTEM SET wal_level = logical; then restart PostgreSQL " +
      "(managed services: rds.logical_replication, cloudsql.logical_decoding, or the server's parameters).",
  );
}

function encoding({ encoding: found }: ServerFacts): Finding {
  if (storesAnyText(found)) return ok("encoding", found);
  return problem("encoding", `${found}: it cannot store every text that a receiver answers`, ENCODING_HINT);
}

function slots(facts: ServerFacts, hasSlot: boolean): Finding {
  const { maxReplicationSlots: max, usedReplicationSlots: used } = facts;
  const what = `${used} of ${max} in use`;
  if (hasSlot || used < max) return ok("max_replication_slots", what);
  return problem(
    "max_replication_slots",
    what,
    "Drop an unused slot (select slot_name, active from pg_replication_slots), " +
      `or ALTER SYSTEM SET max_replication_slots = ${max + 5}; and restart PostgreSQL.`,
  );
}

function senders(facts: ServerFacts, isSlotActive: boolean): Finding {
  const { maxWalSenders: max, usedWalSenders: used } = facts;
  const what = `${used} of ${max} in use`;
  if (isSlotActive || used < max) return ok("max_wal_senders", what);
  return problem("max_wal_senders", what, `ALTER SYSTEM SET max_wal_senders = ${max + 5}; and restart PostgreSQL.`);
}

function rights({ user, canReplicate, isSuperuser, isBridgeMember }: ServerFacts): Finding {
  const where = `role ${user}`;
  if (!canReplicate) {
    return problem(
      where,
      "must not replicate",
      `ALTER ROLE ${quote(user)} REPLICATION; (on RDS and Aurora: GRANT rds_replication TO ${quote(user)};)`,
    );
  }
  if (isSuperuser) {
    return warning(
      where,
      "is a superuser",
      "It works. For less power: CREATE ROLE walhook_login LOGIN REPLICATION IN ROLE walhook_bridge;",
    );
  }
  if (isBridgeMember === false) {
    return problem(
      where,
      "is not a member of walhook_bridge",
      `If it is the bridge's login: GRANT walhook_bridge TO ${quote(user)}; else run this as that login.`,
    );
  }
  return ok(where, isBridgeMember === true ? "REPLICATION, member of walhook_bridge" : "REPLICATION");
}

function retention({ maxSlotWalKeepMb }: ServerFacts): Finding {
  if (maxSlotWalKeepMb >= 0) {
    return ok("max_slot_wal_keep_size", `${maxSlotWalKeepMb} MB: beyond it the slot is lost, the disk is safe`);
  }
  return warning(
    "max_slot_wal_keep_size",
    "-1: while no bridge runs, the slot retains WAL until the disk is full",
    "Set a bound that fits the disk: ALTER SYSTEM SET max_slot_wal_keep_size = '10GB'; SELECT pg_reload_conf();",
  );
}

function clock({ clockSkewMs }: ServerFacts): Finding {
  const seconds = (Math.abs(clockSkewMs) / 1000).toFixed(1);
  const what = `the server's clock is ${seconds} s ${clockSkewMs < 0 ? "behind" : "ahead of"} this machine's`;
  if (Math.abs(clockSkewMs) <= MAX_SKEW_MS) return ok("clock", what);
  return warning("clock", what, "Synchronise both with NTP: receivers refuse signatures that are 5 minutes off.");
}

/** An identifier for a statement to paste. */
export function quote(identifier: string): string {
  return /^[a-z_][a-z0-9_$]*$/.test(identifier) ? identifier : `"${identifier.replaceAll('"', '""')}"`;
}
