/** A pool or client of `pg`, as far as it is needed. */
export interface Queryable {
  query(sql: string, params?: unknown[]): Promise<{ readonly rows: unknown[] }>;
}
