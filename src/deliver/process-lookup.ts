import { lookup } from "node:dns";
import { SharedLookup, type LookupAll } from "./shared-lookup.ts";

/** As libuv has them: https://docs.libuv.org/en/v1.x/threadpool.html */
const POOL_THREADS = 4;
const MAX_POOL_THREADS = 1_024;

/**
 * How many names this process can look up at once: libuv leaves half of its threads to what is not slow. The size must have
 * been set before anything has used the pool, since it is made once.
 */
export function lookupThreads(env: Readonly<Record<string, string | undefined>>): number {
  const text = env["UV_THREADPOOL_SIZE"];
  // As libuv reads it, by atoi: what is no number is one thread.
  const wanted = text === undefined ? POOL_THREADS : Number.parseInt(text, 10) || 1;
  const threads = wanted < 0 ? MAX_POOL_THREADS : Math.min(wanted, MAX_POOL_THREADS);
  return Math.floor((threads + 1) / 2);
}

/** One for all bridges of the process, since they share its threads. Made late: a program may set the size as it starts. */
let shared: SharedLookup | null = null;

/** How names of receivers and proxies are looked up, unless something else is said: as the system does it. */
export const processLookup: LookupAll = (host, options, callback) => {
  shared ??= new SharedLookup(lookup, lookupThreads(process.env));
  shared.ask(host, options, callback);
};
