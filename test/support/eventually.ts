/**
 * Polls a condition until it holds, with a deadline: tests never sleep for a guessed time.
 * Returns the first value that is neither null, undefined nor false; throws with the last error after `withinMs`.
 */
export async function eventually<T>(
  probe: () => T | Promise<T>,
  { withinMs = 30_000, everyMs = 10 }: { withinMs?: number; everyMs?: number } = {},
): Promise<NonNullable<T>> {
  const deadline = Date.now() + withinMs;
  let failure: unknown = new Error("the condition did not hold");
  for (;;) {
    try {
      const value = await probe();
      if (value !== null && value !== undefined && value !== false) return value;
    } catch (error) {
      failure = error;
    }
    if (Date.now() > deadline) throw new Error(`not within ${withinMs} ms: ${String(failure)}`, { cause: failure });
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}
