import type { LookupAddress } from "node:dns";
import { LookupSlots, STANDINGS, type Standing } from "./lookup-slots.ts";

export interface LookupAllOptions {
  readonly all: true;
  readonly hints?: number | undefined;
  readonly family?: number | "IPv4" | "IPv6" | undefined;
  /** Who asks waits no longer than this; the system's own lookup knows nothing of it. */
  readonly patienceMs?: number | undefined;
}

/** Looks a name up as `dns.lookup` does, all its addresses at once. */
export type LookupAll = (host: string, options: LookupAllOptions, callback: LookupCallback) => void;

type LookupCallback = (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void;

/** Where nothing is said. */
const PATIENCE_MS = 30_000;

interface Question {
  readonly key: string;
  readonly host: string;
  readonly options: LookupAllOptions;
  readonly callers: Set<Caller>;
}

interface Caller {
  readonly callback: LookupCallback;
  readonly timer: NodeJS.Timeout;
}

/**
 * A lookup that is under way is shared by all who ask for the same name meanwhile, and names that did not answer lately
 * are looked up few at a time. `getaddrinfo` holds one of few threads and cannot be cancelled: a name whose name server is
 * dead would take all of them, for as many times its 10 s as it has connections. Nothing is remembered of an answer but
 * whether it came at once: the next connection asks anew.
 */
export class SharedLookup {
  readonly #lookup: LookupAll;
  readonly #slots: LookupSlots;
  /** Those that wait and those under way. */
  readonly #open = new Map<string, Question>();
  /** In the order in which they were asked. */
  readonly #waiting = new Set<Question>();

  /** @param threads how many lookups `lookup` can make at once */
  constructor(lookup: LookupAll, threads: number) {
    this.#lookup = lookup;
    this.#slots = new LookupSlots(threads);
  }

  /** Fails with ETIMEDOUT where there is no answer in time: others may go on waiting. */
  readonly ask: LookupAll = (host, { patienceMs = PATIENCE_MS, ...options }, callback) => {
    const key = `${host} ${options.family ?? 0} ${options.hints ?? 0}`;
    const known = this.#open.get(key);
    const question = known ?? { key, host, options, callers: new Set() };
    const timer = setTimeout(() => this.#giveUp(question, caller, patienceMs), patienceMs).unref();
    const caller: Caller = { callback, timer };
    question.callers.add(caller);
    if (known !== undefined) return;
    this.#open.set(key, question);
    this.#waiting.add(question);
    this.#startAsFree(this.#slots.standingOf(host), [question]);
  };

  #startWaiting(): void {
    for (const standing of STANDINGS) this.#startAsFree(standing, this.#waiting);
  }

  #startAsFree(standing: Standing, questions: Iterable<Question>): void {
    for (const question of questions) {
      if (!this.#slots.isFree(standing)) return;
      if (this.#slots.standingOf(question.host) === standing) this.#start(question, standing);
    }
  }

  #start(question: Question, standing: Standing): void {
    const { key, host, options, callers } = question;
    this.#waiting.delete(question);
    this.#slots.take(standing);
    const startedAt = performance.now();
    this.#lookup(host, options, (error, addresses) => {
      this.#slots.release(standing, host, performance.now() - startedAt);
      this.#open.delete(key);
      this.#startWaiting();
      for (const { callback, timer } of callers) {
        clearTimeout(timer);
        callback(error, addresses);
      }
    });
  }

  #giveUp(question: Question, caller: Caller, patienceMs: number): void {
    question.callers.delete(caller);
    // What is under way cannot be called back; what waits for nobody need not begin.
    if (question.callers.size === 0 && this.#waiting.delete(question)) this.#open.delete(question.key);
    const error = new Error(`${question.host}: no name server has answered within ${patienceMs} ms`);
    caller.callback(Object.assign(error, { code: "ETIMEDOUT", syscall: "getaddrinfo" }), []);
  }
}
