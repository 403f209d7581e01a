import type { ColumnType, Generated } from "kysely";

/** Read as a Date; written as a Date or as SQL. */
type Time = ColumnType<Date, Date, Date>;
type NullableTime = ColumnType<Date | null, Date | null, Date | null>;
/** Read and written as text: 64 bits do not fit a number, and an LSN is none. */
type Text64 = ColumnType<string, string | bigint, string | bigint>;
/** Read as a value, written as JSON text. */
type Json<T> = ColumnType<T, string, string>;

/** The tables that the bridge reads and writes, for Kysely. `sql/020_tables.sql` says what each column means. */
export interface Database {
  readonly "walhook.webhook_in_force": {
    readonly webhook_id: number;
    readonly definition: Json<unknown>;
  };
  readonly "walhook.webhook_queue": {
    readonly delivery_id: string;
    readonly webhook_id: number;
    readonly webhook: string;
    readonly kind: "request" | "undecided";
    readonly doctype: string;
    readonly docname: string | null;
    readonly old_docname: string | null;
    readonly is_barrier: boolean;
    readonly docevent: string;
    readonly source: string;
    readonly commit_lsn: string;
    readonly change_lsn: string;
    readonly change_index: number;
    readonly event_number: number;
    readonly xid: Text64;
    readonly commit_time: Time;
    readonly attempts: number;
    readonly due_at: NullableTime;
    readonly last_error: string | null;
    readonly is_dead: boolean;
    readonly method: string | null;
    readonly url: string | null;
    readonly content_type: string | null;
    readonly headers: ColumnType<[name: string, value: string][] | null, string | null, string | null>;
    readonly body: Buffer | null;
    readonly change: ColumnType<unknown, string | null, string | null>;
    readonly queued_at: Generated<Date>;
  };
  readonly "walhook.bridge": {
    readonly id: Generated<boolean>;
    readonly slot_name: string | null;
    readonly slot_generation: number;
    readonly system_identifier: string | null;
    readonly database_oid: number | null;
    readonly timeline_id: number | null;
    readonly cursor_commit_lsn: string | null;
    readonly cursor_change_lsn: string | null;
    readonly cursor_index: number | null;
    readonly flush_lsn: string | null;
    readonly epoch: Text64;
    readonly state: "new" | "running" | "stopped" | "waiting" | "failed";
    readonly last_error: string | null;
    readonly last_error_at: NullableTime;
    readonly version: string | null;
    readonly started_at: NullableTime;
    readonly updated_at: Time;
  };
}
