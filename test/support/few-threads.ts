import { isIP } from "node:net";
import type { LookupAll } from "../../src/deliver/shared-lookup.ts";

/** A lookup as `getaddrinfo` on a pool of threads: so many at once, the others in order behind them, none cancelled. */
export interface FewThreads {
  readonly lookup: LookupAll;
  /** What has got a thread, in order. */
  readonly begun: readonly string[];
  /** How many have a thread at present. */
  readonly busy: () => number;
  /** Ends what hangs for this name by this address or error code; what begins later ends so, too, or hangs as before. */
  answer(host: string, what: string, how?: { readonly once: boolean }): void;
}

/** @param answers by name: an address, an error code, or null, which hangs; what is not named is at 127.0.0.1 */
export function fewThreads(threads: number, answers: Readonly<Record<string, string | null>>): FewThreads {
  const known = new Map(Object.entries(answers));
  const begun: string[] = [];
  const queue: { readonly host: string; readonly end: (what: string) => void }[] = [];
  const hanging: { readonly host: string; readonly end: (what: string) => void }[] = [];
  let busy = 0;
  const next = (): void => {
    while (busy < threads && queue.length > 0) {
      const { host, end } = queue.shift()!;
      busy++;
      begun.push(host);
      const what = known.has(host) ? known.get(host)! : "127.0.0.1";
      if (what === null) hanging.push({ host, end });
      else setImmediate(end, what);
    }
  };
  return {
    begun,
    busy: () => busy,
    lookup: (host, _, callback) => {
      const end = (what: string): void => {
        busy--;
        if (isIP(what) === 0) callback(Object.assign(new Error(`getaddrinfo ${what} ${host}`), { code: what }), []);
        else callback(null, [{ address: what, family: isIP(what) }]);
        next();
      };
      queue.push({ host, end });
      next();
    },
    answer: (host, what, { once } = { once: false }) => {
      if (!once) known.set(host, what);
      const ended = hanging.filter((one) => one.host === host);
      for (const one of ended) hanging.splice(hanging.indexOf(one), 1);
      for (const { end } of ended) end(what);
    },
  };
}
