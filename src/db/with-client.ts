import type pg from "pg";

/**
 * A connection of the pool for one piece of work, broken off when `signal` is aborted. After an error it is not used again:
 * nobody knows what is left of it.
 */
export async function withClient<T>(
  pool: pg.Pool,
  signal: AbortSignal,
  work: (client: pg.PoolClient) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  const client = await pool.connect();
  let isReleased = false;
  const release = (isBroken: boolean): void => {
    if (!isReleased) client.release(isBroken);
    isReleased = true;
  };
  const abort = (): void => release(true);
  signal.addEventListener("abort", abort);
  try {
    signal.throwIfAborted();
    const result = await work(client);
    release(false);
    return result;
  } catch (error) {
    release(true);
    throw error;
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
