/** `retry`: the same attempt can succeed later. `fatal`: somebody must act first. */
export type ErrorKind = "retry" | "fatal";

/** One known cause of an error: its name, whether waiting helps, and what to do. */
export interface ErrorCause {
  readonly code: string;
  readonly kind: ErrorKind;
  /** What happened, in words that do not depend on the server's language. */
  readonly what: string;
  readonly hint: string | null;
}

const TLS_HINT =
  "Name the authority's certificate in the connection string with sslrootcert=/path/to/ca.pem; " +
  "sslmode=no-verify encrypts without checking who answers.";

/** Errors of reaching the server, by Node's error name or, where the driver gives none, by its message. */
export const CONNECTION_CAUSES: readonly (ErrorCause & { readonly match: readonly string[] | RegExp })[] = [
  {
    match: ["ECONNREFUSED"],
    code: "database_down",
    kind: "retry",
    what: "nobody answers at the database's address",
    hint: "Start PostgreSQL, or correct host and port in DATABASE_URL.",
  },
  {
    match: ["ENOTFOUND", "EAI_AGAIN"],
    code: "host_unknown",
    kind: "retry",
    what: "the database's host name does not resolve",
    hint: "Correct the host in DATABASE_URL, or the name service of this machine.",
  },
  {
    match: ["ENOENT"],
    code: "file_missing",
    kind: "fatal",
    what: "a file or socket that the connection string names does not exist",
    hint: "Check sslrootcert, sslcert, sslkey and a socket directory in DATABASE_URL.",
  },
  {
    match: ["ECONNRESET", "EPIPE", "ETIMEDOUT", "EHOSTUNREACH", "ENETUNREACH", "EHOSTDOWN", "ENETDOWN", "ECONNABORTED"],
    code: "connection_lost",
    kind: "retry",
    what: "the connection to the database broke",
    hint: null,
  },
  {
    match: [
      "SELF_SIGNED_CERT_IN_CHAIN",
      "DEPTH_ZERO_SELF_SIGNED_CERT",
      "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
      "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
      "CERT_HAS_EXPIRED",
      "ERR_TLS_CERT_ALTNAME_INVALID",
    ],
    code: "certificate_refused",
    kind: "fatal",
    what: "the database's TLS certificate cannot be trusted",
    hint: TLS_HINT,
  },
  {
    match: /does not support SSL/i,
    code: "tls_unsupported",
    kind: "fatal",
    what: "the database does not speak TLS",
    hint: "Take sslmode out of DATABASE_URL (or say sslmode=disable), or turn ssl on in postgresql.conf.",
  },
  {
    match: /client password must be a (non-empty )?string|password must be a/i,
    code: "password_missing",
    kind: "fatal",
    what: "the database asks for a password and none is given",
    hint: "Put it into DATABASE_URL (postgresql://role:password@host/database) or PGPASSWORD.",
  },
  {
    match:
      /Connection terminated|timeout exceeded when trying to connect|Query read timeout|Client has encountered a connection error/i,
    code: "connection_lost",
    kind: "retry",
    what: "the connection to the database broke",
    hint: null,
  },
];

/**
 * Errors that the server reports, by SQLSTATE or, with two characters, by its class; the first that fits counts.
 * `message` narrows a SQLSTATE that stands for several causes, by words that no translation changes.
 */
export const SQLSTATE_CAUSES: readonly (ErrorCause & { readonly sqlstate: string; readonly message?: RegExp })[] = [
  {
    sqlstate: "28P01",
    code: "wrong_password",
    kind: "fatal",
    what: "the database refuses the password",
    hint: "Correct role and password in DATABASE_URL (special characters percent-encoded).",
  },
  {
    sqlstate: "28",
    code: "login_refused",
    kind: "fatal",
    what: "the database refuses the login",
    hint: "Create the role, or let it in by pg_hba.conf (for replication connections, too, where REPLICATION_URL differs).",
  },
  {
    sqlstate: "3D000",
    code: "database_unknown",
    kind: "fatal",
    what: "there is no such database",
    hint: "Correct the database's name at the end of DATABASE_URL.",
  },
  {
    sqlstate: "42501",
    message: /wal sender|walsender|replication|pg_replication|REPLICATION/i,
    code: "no_replication_right",
    kind: "fatal",
    what: "the role must not replicate",
    hint:
      "As a superuser: ALTER ROLE <role> REPLICATION; " +
      "(on RDS and Aurora: GRANT rds_replication TO <role>; on Azure and Cloud SQL: ALTER ROLE as the administrator).",
  },
  {
    sqlstate: "42501",
    code: "no_right",
    kind: "fatal",
    what: "the role lacks a right",
    hint: "The bridge's login needs it: GRANT walhook_bridge TO <role>; and nobody else does, since that role reads all secrets. See `walhook check`.",
  },
  {
    sqlstate: "55000",
    message: /wal_level/,
    code: "wal_level_not_logical",
    kind: "fatal",
    what: "the server does not write logical WAL",
    hint: "As a superuser: ALTER SYSTEM SET wal_level = logical; then restart PostgreSQL (managed services: rds.logical_replication, cloudsql.logical_decoding, or wal_level in the server's parameters).",
  },
  {
    sqlstate: "55000",
    message: /replication slot/i,
    code: "slot_lost",
    kind: "fatal",
    what: "the replication slot can no longer be read",
    hint: "Changes since the slot's last position are gone from the WAL. Raise max_slot_wal_keep_size, then see `walhook accept-gap`.",
  },
  {
    sqlstate: "42704",
    message: /replication slot/i,
    code: "slot_missing",
    kind: "fatal",
    what: "the replication slot does not exist",
    hint: "Somebody dropped it, or the database was restored from a copy: changes since then were not delivered. Walhook never makes a new slot silently; see `walhook accept-gap`.",
  },
  {
    sqlstate: "42704",
    message: /publication/i,
    code: "publication_missing",
    kind: "fatal",
    what: "a publication of Walhook does not exist",
    hint: "Somebody dropped it, and changes since then were not sent. See `walhook accept-gap`.",
  },
  {
    sqlstate: "55006",
    message: /replication slot|PID/i,
    code: "slot_in_use",
    kind: "retry",
    what: "another process reads the replication slot",
    hint: "Another `walhook run` is at work on this database (see pg_stat_replication), or one that died is not yet noticed (up to wal_sender_timeout).",
  },
  {
    sqlstate: "53400",
    code: "slots_full",
    kind: "fatal",
    what: "the server has no free replication slot",
    hint: "Drop an unused one (select slot_name, active from pg_replication_slots), or raise max_replication_slots and restart PostgreSQL.",
  },
  {
    sqlstate: "53300",
    code: "too_many_connections",
    kind: "retry",
    what: "the server has no free connection",
    hint: "Raise max_connections or max_wal_senders, or close other connections.",
  },
  {
    sqlstate: "42P01",
    message: /walhook/,
    code: "not_installed",
    kind: "fatal",
    what: "Walhook is not installed in this database",
    hint: "Run `walhook install` with the same DATABASE_URL.",
  },
  {
    sqlstate: "3F000",
    message: /walhook/,
    code: "not_installed",
    kind: "fatal",
    what: "Walhook is not installed in this database",
    hint: "Run `walhook install` with the same DATABASE_URL.",
  },
  {
    sqlstate: "42883",
    message: /walhook/,
    code: "schema_too_old",
    kind: "fatal",
    what: "this database has an older schema of Walhook",
    hint: "Run `walhook install` with the same DATABASE_URL: it upgrades in place.",
  },
  {
    sqlstate: "42703",
    message: /bridge/,
    code: "schema_too_old",
    kind: "fatal",
    what: "this database has an older schema of Walhook",
    hint: "Run `walhook install` with the same DATABASE_URL: it upgrades in place.",
  },
  {
    sqlstate: "25006",
    code: "database_read_only",
    kind: "retry",
    what: "the server is read-only",
    hint: "It is a standby: point DATABASE_URL at the primary.",
  },
  {
    sqlstate: "57P",
    code: "database_down",
    kind: "retry",
    what: "the server is shutting down, starting, or has ended this connection",
    hint: null,
  },
  { sqlstate: "08", code: "connection_lost", kind: "retry", what: "the connection to the database broke", hint: null },
  { sqlstate: "53", code: "out_of_resources", kind: "retry", what: "the server is out of resources", hint: null },
  { sqlstate: "58", code: "server_io", kind: "retry", what: "the server failed to read or write", hint: null },
  { sqlstate: "40", code: "conflict", kind: "retry", what: "the transaction lost against another", hint: null },
  { sqlstate: "55P03", code: "lock_timeout", kind: "retry", what: "a lock was not free in time", hint: null },
  { sqlstate: "57014", code: "cancelled", kind: "retry", what: "the statement was cancelled", hint: null },
];
