/**
 * Every function of schema walhook that works with the rights of its owner, and why it has to. A function that is not listed
 * fails the test: think first about who may call it, and whether what it shows or changes is the caller's to see or change.
 */
export const DEFINERS: Readonly<Record<string, string>> = {
  "add_log_partitions(integer)": "The bridge may fill the log, not make tables.",
  "answer_question(uuid, bigint, json)": "The bridge writes answers by it alone; it reads no table for its caller.",
  "ask(text, text[], text[], text[])":
    "Owned by `walhook_sandbox`, which may nothing else: a condition finds no right to take.",
  "ask_bridge(uuid, jsonb, interval)":
    "Answers are read by it alone; it gives one only to who wrote the question's row, whose trigger asks for his rights on the table.",
  "ask_rows(text, text[], text[], text[])": "As `ask`, one row after the other.",
  "author_rights()": "The bridge asks for the rights of all authors. It shows no row of a watched table.",
  "check_publishable()": "Looks at the replica identity of every partition, whoever attaches one.",
  "condition_is_stale(text)": "Looks into `walhook_condition`; says yes or no.",
  "disable_webhook(integer, text)": "The bridge may change nothing else of a webhook.",
  "disable_webhook(integer, text, text)": "The same, where its URL is still the one that failed.",
  "doctype_problems(oid, oid)": "Looks at catalogs and at who owns what; shows no row of a table.",
  "drop_conditions(text[])": "Drops functions of other owners, of those alone that nothing needs any more.",
  "drop_log_partitions(interval, bigint)": "The bridge may fill the log, not drop tables.",
  "drop_backfill_function(bigint)":
    "The bridge drops the function of a backfill that has ended; it belongs to who asked for it.",
  "emit(jsonb, boolean)":
    "Raises the doorbell, and signs with a key that nobody may read; the message decides nothing.",
  "ensure_leaf_identity(oid)": "Sets the replica identity of a new partition, of watched tables alone, as their owner.",
  "expunge_bodies()": "Who expunges may neither read nor write log and queue.",
  "facts_of_delivery(integer, text)": "Shows LSN, transaction and time of a commit, nothing of a row.",
  "forget_disabled()": "Writes `webhook_state`, which belongs to the bridge.",
  "forget_state()": "Whoever deletes a webhook may not write `webhook_state`, which belongs to the bridge.",
  "forget_secrets()": "Nobody may read or write `webhook_secret`.",
  "guard()":
    "An event trigger of the superuser that installed it: gives a new partition its replica identity in the statement that makes it.",
  "keep_backfill_token(bigint, text)": "Nobody but the bridge may read tokens; each is written once.",
  "keep_secret()": "Nobody may read or write `webhook_secret`.",
  "lock_doctype(oid, text)": "Locks a watched table as its owner, before it is published.",
  "merge_rollup()": "The bridge may append to what is counted, not change it; shows figures to nobody.",
  "move_secret()": "Nobody may read or write `webhook_secret`.",
  "notice_unpublished()": "Writes `published`.",
  "publication_problems()": "Compares `published` with the catalogs.",
  "publish_doctype(oid, boolean)": "Publications belong to `walhook_owner`; after the author's rights were asked for.",
  "publish_webhook()": "The same, for the row that a trigger sees.",
  "raise_alert()": "Nobody may write alerts.",
  "read_backfill(bigint, text, jsonb)":
    "Owned by `walhook_sandbox`: calls the function of who asked for the backfill, which reads with that role's rights alone.",
  "record_published()": "Writes `published`.",
  "replayable(integer, text, text, timestamp with time zone, timestamp with time zone, pg_lsn, pg_lsn, text)":
    "Who repairs may not read the log: it tells ids and what is in the way of sending them again, nothing of what was sent.",
  "require_bridge()": "Reads whether a bridge is at work, and its last error.",
  "restore_replica_identities()": "Changes watched tables as their owner; for uninstalling.",
  "restore_replica_identity(oid)": "Changes a watched table as its owner, when its last webhook goes.",
  "skip_state()": "The bridge may not lock a row of `webhook`; it is told nothing but whether the row is there.",
  "set_full_identity(oid)": "Changes a watched table as its owner, for a webhook that needs it.",
  "settle_replica_identities()": "The same for the bridge: only what the webhooks that are there need.",
  "take_test(uuid)": "The bridge takes each test once.",
  "thin_log_partition(interval)":
    "The bridge may fill the log, not change it, but for bodies of days that are long over.",
  "trim_decisions(interval)": "The bridge may write decisions, not delete them, but for what is old.",
  "trim_rollup(interval)": "The bridge may not delete what is counted, but for what is old.",
  "unused_conditions()": "Looks into `webhook_in_force`; shows names of functions.",
};
