import { describe, expect, it } from "vitest";
import { LookupSlots, SLOW_AFTER_MS, type Standing } from "../../src/deliver/lookup-slots.ts";

/** Takes slots for names of one standing until there are none. */
function takeAll(slots: LookupSlots, standing: Standing): number {
  let taken = 0;
  for (; slots.isFree(standing); taken++) slots.take(standing);
  return taken;
}

describe("lookups at once", () => {
  it.each([
    [1, { slow: 1, new: 0, prompt: 0 }],
    [2, { slow: 1, new: 0, prompt: 1 }],
    [4, { slow: 1, new: 1, prompt: 1 }],
    [8, { slow: 2, new: 4, prompt: 1 }],
    [32, { slow: 8, new: 16, prompt: 7 }],
  ])("of %i threads are so many of each standing", (threads, expected) => {
    const slots = new LookupSlots(threads);
    const taken = { slow: takeAll(slots, "slow"), new: takeAll(slots, "new"), prompt: takeAll(slots, "prompt") };
    expect(taken).toEqual(expected);
  });

  it("of names that answered at once the last time may be as many as there are threads, but for one", () => {
    expect(takeAll(new LookupSlots(32), "prompt")).toBe(31);
  });

  it("are free again for what comes next as they end", () => {
    const slots = new LookupSlots(2);
    slots.take("slow");
    expect(slots.isFree("new")).toBe(false);
    slots.release("slow", "a.example", 10_000);
    expect(slots.isFree("new")).toBe(true);
  });
});

describe("a name", () => {
  it("is new until it was looked up, and then what its last lookup was", () => {
    const slots = new LookupSlots(8);
    const standings = [slots.standingOf("a.example")];
    for (const tookMs of [3, SLOW_AFTER_MS + 1, 3]) {
      slots.take(slots.standingOf("a.example"));
      slots.release(slots.standingOf("a.example"), "a.example", tookMs);
      standings.push(slots.standingOf("a.example"));
    }
    expect(standings).toEqual(["new", "prompt", "slow", "prompt"]);
    expect(takeAll(slots, "prompt")).toBe(7);
  });

  it("is forgotten where ten thousand others were looked up since, the last ones are not", () => {
    const slots = new LookupSlots(8);
    const look = (host: string): void => {
      slots.take("new");
      slots.release("new", host, 1);
    };
    look("first.example");
    look("kept.example");
    for (let n = 1; n < 10_000; n++) {
      look(`${n}.example`);
      if (n % 1_000 === 0) look("kept.example");
    }
    expect(slots.standingOf("first.example")).toBe("new");
    expect(slots.standingOf("kept.example")).toBe("prompt");
  });
});
