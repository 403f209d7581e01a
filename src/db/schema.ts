import type { ColumnType, Generated, GeneratedAlways, JSONColumnType } from "kysely";

/**
 * The tables of schema walhook as the driver gives and takes their values. Columns are described where they
 * are made, in sql/020_tables.sql. `bigint` and `pg_lsn` come as text, so that no digit is lost.
 */
export interface Database {
  readonly "walhook.migration": MigrationTable;
  readonly "walhook.webhook": WebhookTable;
  readonly "walhook.webhook_header": WebhookHeaderTable;
  readonly "walhook.webhook_data": WebhookDataTable;
  readonly "walhook.webhook_secret": WebhookSecretTable;
  readonly "walhook.webhook_in_force": WebhookInForceTable;
  readonly "walhook.webhook_state": WebhookStateTable;
  readonly "walhook.webhook_request_log": WebhookRequestLogTable;
  readonly "walhook.webhook_queue": WebhookQueueTable;
  readonly "walhook.replica_identity": ReplicaIdentityTable;
  readonly "walhook.bridge": BridgeTable;
}

/** `X/Y` in hexadecimal. */
type Lsn = string;
/** `bigint`: digits out, digits or a whole number in. */
type Bigint = ColumnType<string, string | number | bigint, string | number | bigint>;
type NullableBigint = ColumnType<string | null, string | number | bigint | null, string | number | bigint | null>;
type GeneratedBigint = ColumnType<string, string | number | bigint | undefined, string | number | bigint>;
type Timestamp = ColumnType<Date, Date | string, Date | string>;
type NullableTimestamp = ColumnType<Date | null, Date | string | null | undefined, Date | string | null>;
type GeneratedTimestamp = ColumnType<Date, Date | string | undefined, Date | string>;
/** Filled by a trigger, whatever the statement says. */
type FilledByTrigger<T> = ColumnType<T, never, never>;

export interface MigrationTable {
  readonly version: number;
  readonly name: string;
  readonly applied_at: GeneratedTimestamp;
}

export interface WebhookTable {
  readonly id: GeneratedAlways<number>;
  readonly name: string;
  readonly webhook_doctype: string;
  readonly webhook_docevent: string;
  readonly enabled: Generated<boolean>;
  readonly condition: string | null;
  readonly request_url: string;
  readonly is_dynamic_url: Generated<boolean>;
  readonly request_method: Generated<string>;
  readonly request_structure: Generated<string>;
  readonly webhook_json: string | null;
  /** An interval: the driver's object out, text in. */
  readonly timeout: ColumnType<unknown, string | undefined, string>;
  readonly enable_security: Generated<boolean>;
  readonly webhook_secret: string | null;
  readonly allow_replica_identity_full: Generated<boolean>;
  readonly doctype_oid: FilledByTrigger<number>;
  readonly doctype: FilledByTrigger<string>;
  readonly author: FilledByTrigger<string>;
  readonly revision: FilledByTrigger<number>;
  readonly condition_function: FilledByTrigger<string | null>;
  readonly condition_columns: FilledByTrigger<string[] | null>;
  readonly condition_uses_old: FilledByTrigger<boolean | null>;
  readonly condition_is_immutable: FilledByTrigger<boolean | null>;
  readonly condition_tells_null: FilledByTrigger<boolean | null>;
  readonly timeout_ms: FilledByTrigger<number>;
  /** Intervals: the driver's objects out, text in. */
  readonly retry_schedule: ColumnType<unknown, string | null | undefined, string | null>;
  readonly retry_schedule_ms: FilledByTrigger<string[] | null>;
  readonly ordering: Generated<boolean>;
  readonly on_exhausted: Generated<string>;
  readonly batch_size: Generated<number>;
  readonly batch_window: ColumnType<unknown, string | undefined, string>;
  readonly batch_window_ms: FilledByTrigger<number>;
  readonly payload_format: Generated<string>;
  /** Where it is NULL and a CloudEvent is sent, the trigger fills it in. */
  readonly cloudevents_source: string | null;
  readonly handshake: Generated<boolean>;
  readonly handshake_origin: Generated<string>;
  readonly proxy: string | null;
  readonly tls_profile: string | null;
  readonly tls_min_version: Generated<string>;
  readonly log_request_bytes: number | null;
  readonly log_response_bytes: number | null;
  readonly log_decisions: Generated<boolean>;
  /** An interval: the driver's object out, text in. */
  readonly disable_after: ColumnType<unknown, string | null | undefined, string | null>;
  readonly disable_after_ms: FilledByTrigger<string | null>;
  /** numeric */
  readonly rate_limit: ColumnType<string | null, string | number | null | undefined, string | number | null>;
  readonly created_at: FilledByTrigger<Date>;
  readonly modified_at: FilledByTrigger<Date>;
}

export interface WebhookHeaderTable {
  readonly id: GeneratedAlways<number>;
  readonly webhook: string;
  readonly webhook_id: FilledByTrigger<number>;
  readonly key: string;
  readonly value: string;
}

export interface WebhookDataTable {
  readonly id: GeneratedAlways<number>;
  readonly webhook: string;
  readonly webhook_id: FilledByTrigger<number>;
  readonly fieldname: string;
  readonly key: Generated<string>;
}

export interface WebhookSecretTable {
  readonly webhook_id: number;
  readonly secret: string;
}

/** A row of a configuration table as the stream carries it: the text of each column. */
export type ColumnTexts = { readonly [column: string]: string | null };

/** What `webhook_in_force.definition` holds. */
export interface WebhookDefinition {
  readonly webhook: ColumnTexts;
  readonly headers: readonly ColumnTexts[];
  readonly data: readonly ColumnTexts[];
  /** Not there where an earlier version stored it. */
  readonly secrets?: readonly ColumnTexts[];
  /** The only secret, as earlier versions knew it. */
  readonly secret?: string | null;
  /** Whether `walhook.paused` has a row for it. */
  readonly isPaused?: boolean;
}

export interface WebhookInForceTable {
  readonly webhook_id: number;
  readonly definition: JSONColumnType<WebhookDefinition>;
}

export interface WebhookStateTable {
  readonly webhook_id: number;
  readonly name: string;
  readonly state: Generated<string>;
  readonly health: Generated<"ok" | "failing" | "opened" | "disabled">;
  readonly breaker: Generated<"closed" | "open" | "half_open">;
  readonly breaker_opened_at: NullableTimestamp;
  readonly breaker_until: NullableTimestamp;
  readonly breaker_openings: Generated<number>;
  readonly consecutive_failures: Generated<number>;
  readonly first_failure_at: NullableTimestamp;
  readonly last_failure_at: NullableTimestamp;
  readonly last_failure: string | null;
  readonly last_error: string | null;
  readonly last_error_at: NullableTimestamp;
  readonly last_delivered_at: NullableTimestamp;
  readonly updated_at: GeneratedTimestamp;
}

export interface WebhookRequestLogTable {
  readonly sent_at: Timestamp;
  readonly delivery_id: string;
  readonly attempt: number;
  readonly request_id: string | null;
  readonly webhook_id: number;
  readonly webhook: string;
  readonly doctype: string;
  readonly docname: string | null;
  readonly docevent: string;
  readonly source: string;
  readonly outcome: string;
  readonly status_code: number | null;
  readonly duration_ms: number | null;
  readonly error_class: string | null;
  readonly error: string | null;
  readonly lsn: Lsn | null;
  readonly xid: NullableBigint;
  readonly commit_time: NullableTimestamp;
  readonly url: string | null;
  readonly method: string | null;
  readonly request_headers: JSONColumnType<object | null>;
  readonly request_body: string | null;
  readonly response_headers: JSONColumnType<object | null>;
  readonly response_body: string | null;
  readonly dns_ms: number | null;
  readonly connect_ms: number | null;
  readonly tls_ms: number | null;
  readonly first_byte_ms: number | null;
  readonly remote_address: string | null;
  readonly key_ids: string[] | null;
  readonly request_bytes: number | null;
  readonly body_kept: string | null;
}

export interface WebhookQueueTable {
  readonly delivery_id: string;
  readonly webhook_id: number;
  readonly webhook: string;
  readonly kind: "request" | "undecided";
  readonly doctype: string;
  readonly docname: string | null;
  readonly old_docname: string | null;
  readonly is_barrier: Generated<boolean>;
  readonly docevent: string;
  readonly source: string;
  readonly commit_lsn: Lsn;
  readonly change_lsn: Lsn;
  readonly change_index: number;
  readonly event_number: number;
  readonly xid: Bigint;
  readonly commit_time: Timestamp;
  readonly attempts: Generated<number>;
  readonly due_at: NullableTimestamp;
  readonly last_error: string | null;
  readonly is_dead: Generated<boolean>;
  readonly is_ordered: Generated<boolean>;
  readonly holds_lane: Generated<boolean>;
  readonly batch_id: string | null;
  readonly method: string | null;
  readonly url: string | null;
  readonly content_type: string | null;
  readonly headers: ColumnType<[name: string, value: string][] | null, string | null, string | null>;
  readonly body: Buffer | null;
  readonly change: ColumnType<unknown, string | null, string | null>;
  readonly queued_at: GeneratedTimestamp;
}

export interface ReplicaIdentityTable {
  readonly relation: string;
  readonly former: "d" | "i" | "n";
  readonly former_index: string | null;
  readonly replaced_at: GeneratedTimestamp;
}

export interface BridgeTable {
  readonly id: Generated<boolean>;
  readonly slot_name: string | null;
  readonly slot_generation: Generated<number>;
  readonly system_identifier: string | null;
  readonly database_oid: number | null;
  readonly timeline_id: number | null;
  readonly cursor_commit_lsn: Lsn | null;
  readonly cursor_change_lsn: Lsn | null;
  readonly cursor_index: number | null;
  readonly flush_lsn: Lsn | null;
  readonly cursor_time: NullableTimestamp;
  readonly epoch: GeneratedBigint;
  readonly stopped_lsn: Lsn | null;
  readonly state: Generated<"new" | "running" | "stopped" | "waiting" | "failed" | "gap">;
  readonly last_error: string | null;
  readonly last_error_at: NullableTimestamp;
  readonly remedy: string | null;
  readonly gap_kind: string | null;
  readonly gap_from_lsn: Lsn | null;
  readonly gap_to_lsn: Lsn | null;
  readonly gap_needs_slot: boolean | null;
  readonly gap_detected_at: NullableTimestamp;
  readonly version: string | null;
  readonly started_at: NullableTimestamp;
  readonly updated_at: GeneratedTimestamp;
  readonly maintenance: string | null;
  readonly maintenance_at: NullableTimestamp;
}
