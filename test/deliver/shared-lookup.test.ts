import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { SharedLookup, type LookupAllOptions } from "../../src/deliver/shared-lookup.ts";
import { fewThreads } from "../support/few-threads.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

type Asked = { readonly said: string | null };

/** Asks, and keeps what came of it: an address or an error code; null: nothing yet. */
function ask(shared: SharedLookup, host: string, options: Partial<LookupAllOptions> = {}): Asked {
  const asked: { said: string | null } = { said: null };
  shared.ask(host, { ...options, all: true }, (error, addresses) => {
    expect(asked.said).toBeNull();
    asked.said = error?.code ?? addresses.map(({ address }) => address).join(" ");
  });
  return asked;
}
const asks = (shared: SharedLookup, count: number, host: string): Asked[] =>
  Array.from({ length: count }, () => ask(shared, host));
const said = (all: readonly Asked[]): (string | null)[] => [...new Set(all.map((one) => one.said))];
const passes = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms);

describe("who asks for a name that is being looked up", () => {
  it("shares that lookup, and its answer", async () => {
    const system = fewThreads(2, { "a.example": null });
    const all = asks(new SharedLookup(system.lookup, 2), 50, "a.example");
    expect(said(all)).toEqual([null]);
    system.answer("a.example", "192.0.2.1");
    expect(said(all)).toEqual(["192.0.2.1"]);
    expect(system.begun).toEqual(["a.example"]);
  });

  it("shares its failure", () => {
    const system = fewThreads(2, { "a.example": null });
    const all = asks(new SharedLookup(system.lookup, 2), 50, "a.example");
    system.answer("a.example", "EAI_AGAIN");
    expect(said(all)).toEqual(["EAI_AGAIN"]);
  });

  it("is asked for anew once it has ended: no answer is kept", async () => {
    const system = fewThreads(2, { "a.example": "192.0.2.1" });
    const shared = new SharedLookup(system.lookup, 2);
    const first = ask(shared, "a.example");
    await passes(1);
    system.answer("a.example", "192.0.2.2");
    const second = ask(shared, "a.example");
    await passes(1);
    expect([first.said, second.said]).toEqual(["192.0.2.1", "192.0.2.2"]);
    expect(system.begun).toHaveLength(2);
  });

  it("does not share it where something else is asked: another family, other hints", () => {
    const system = fewThreads(8, { "a.example": null });
    const shared = new SharedLookup(system.lookup, 32);
    for (const options of [{}, { family: 4 }, { family: 6 }, { hints: 32 }, { family: 0, hints: 0 }])
      ask(shared, "a.example", options);
    expect(system.begun).toHaveLength(4);
  });

  it("gives up at its own time, while the others go on waiting", async () => {
    const system = fewThreads(2, { "a.example": null });
    const shared = new SharedLookup(system.lookup, 2);
    const hasty = ask(shared, "a.example", { patienceMs: 100 });
    const patient = ask(shared, "a.example", { patienceMs: 20_000 });
    await passes(100);
    expect([hasty.said, patient.said]).toEqual(["ETIMEDOUT", null]);
    await passes(9_900);
    system.answer("a.example", "192.0.2.1");
    expect([hasty.said, patient.said]).toEqual(["ETIMEDOUT", "192.0.2.1"]);
    await passes(60_000);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("is told which name it was, and how long it has waited", async () => {
    const shared = new SharedLookup(fewThreads(2, { "a.example": null }).lookup, 2);
    const failed = new Promise((resolve) => shared.ask("a.example", { all: true, patienceMs: 100 }, resolve));
    await passes(100);
    expect(await failed).toMatchObject({ message: "a.example: no name server has answered within 100 ms" });
  });
});

describe("names that do not answer", () => {
  it("keep no thread from those that answered at once before, nor from the rest of the process", async () => {
    const dead = Object.fromEntries(Array.from({ length: 100 }, (_, n) => [`${n}.dead.example`, null]));
    for (const threads of [2, 8, 32]) {
      const system = fewThreads(threads, dead);
      const shared = new SharedLookup(system.lookup, threads);
      ask(shared, "live.example");
      await passes(1);
      const waiting = Object.keys(dead).flatMap((host) => asks(shared, 3, host));
      // What has begun never ends, what has not is given up after a while: asked again, it waits again.
      for (let round = 0; round < 5; round++) {
        const live = ask(shared, "live.example");
        await passes(1);
        expect(live.said).toBe("127.0.0.1");
        expect(system.busy()).toBeLessThan(threads);
        await passes(10_000);
        for (const host of Object.keys(dead)) ask(shared, host);
      }
      expect(said(waiting)).toEqual(["ETIMEDOUT"]);
    }
  });

  it("keep no thread from names that are new, once it is known of them", async () => {
    const names = Array.from({ length: 20 }, (_, n) => `${n}.dead.example`);
    const system = fewThreads(8, Object.fromEntries(names.map((name) => [name, null])));
    const shared = new SharedLookup(system.lookup, 8);
    for (let at = 0; at < names.length; at += 2) {
      for (const name of names.slice(at, at + 2)) ask(shared, name);
      await passes(10_000);
      for (const name of names.slice(at, at + 2)) system.answer(name, "EAI_AGAIN", { once: true });
    }
    expect(system.begun).toEqual(names);
    for (const name of names) ask(shared, name);
    expect(system.busy()).toBe(2);
    const fresh = ask(shared, "fresh.example");
    await passes(1);
    expect(fresh.said).toBe("127.0.0.1");
  });

  it("are not looked up for those who have given up meanwhile", async () => {
    const system = fewThreads(2, { "a.example": null, "b.example": null });
    const shared = new SharedLookup(system.lookup, 2);
    ask(shared, "a.example", { patienceMs: 10_000 });
    const second = ask(shared, "b.example", { patienceMs: 5_000 });
    await passes(5_000);
    expect(second.said).toBe("ETIMEDOUT");
    system.answer("a.example", "EAI_AGAIN");
    await passes(1);
    expect(system.begun).toEqual(["a.example"]);
  });

  it("are looked up after those that are new, in the order in which they were asked, each in its turn", async () => {
    const hosts = ["a.example", "b.example", "c.example"];
    const system = fewThreads(2, Object.fromEntries(hosts.map((host) => [host, null])));
    const shared = new SharedLookup(system.lookup, 2);
    for (const host of hosts) ask(shared, host);
    for (const host of hosts) {
      await passes(5_000);
      system.answer(host, "EAI_AGAIN");
    }
    const before = system.begun.length;
    for (const host of [...hosts, "fresh.example"]) ask(shared, host);
    await passes(10);
    expect(system.begun.slice(before)).toEqual(["a.example", "fresh.example", "b.example", "c.example"]);
  });

  it("are names like others as soon as they answer at once again", async () => {
    const system = fewThreads(2, { "a.example": null, "b.example": null });
    const shared = new SharedLookup(system.lookup, 2);
    ask(shared, "a.example");
    await passes(5_000);
    system.answer("a.example", "EAI_AGAIN");
    ask(shared, "a.example");
    await passes(1);
    // The one thread for names that may hang is taken, so this one is told apart.
    ask(shared, "b.example");
    system.answer("a.example", "192.0.2.1");
    const returned = ask(shared, "a.example");
    await passes(1);
    expect(returned.said).toBe("192.0.2.1");
  });
});
