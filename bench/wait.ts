import { setTimeout as sleep } from "node:timers/promises";

export { sleep };

/** Asks again and again until the answer is neither null nor false; throws after `withinMs`. */
export async function until<T>(
  what: string,
  ask: () => Promise<T | null | false> | T | null | false,
  { withinMs = 60_000, everyMs = 50 }: { readonly withinMs?: number; readonly everyMs?: number } = {},
): Promise<T> {
  const deadline = Date.now() + withinMs;
  for (;;) {
    const answer = await ask();
    if (answer !== null && answer !== false) return answer;
    if (Date.now() > deadline) throw new Error(`${what}: not within ${withinMs / 1000} s`);
    await sleep(everyMs);
  }
}
