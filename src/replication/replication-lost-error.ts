/**
 * The replication connection is gone and nobody asked for that; everything not acknowledged comes again on
 * the next one. Errors of the server itself (57P01, 55000, …) are passed on as they are instead.
 */
export class ReplicationLostError extends Error {
  override readonly name = "ReplicationLostError";
  /** SQLSTATE connection_failure: whoever sorts errors by SQLSTATE needs no further case. */
  readonly code = "08006";
}
