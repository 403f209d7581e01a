import { describe, expect, it } from "vitest";
import { Poll } from "../src/poll.ts";
import { eventually } from "./support/eventually.ts";

describe("Poll", () => {
  it("works one time after the other, and says how long the last one took", async () => {
    let working = 0;
    let times = 0;
    const took: number[] = [];
    const poll = new Poll(
      async () => {
        expect(++working).toBe(1);
        await new Promise(setImmediate);
        working--;
        times++;
      },
      (tookMs) => {
        took.push(tookMs);
        return 0;
      },
      () => {},
    );
    poll.start();
    await eventually(() => times >= 5);
    await poll.close();
    expect(took[0]).toBe(0);
    expect(took.slice(1).every((ms) => ms > 0)).toBe(true);
    const before = times;
    await new Promise(setImmediate);
    expect(times).toBe(before);
  });

  it("tells of a failure once and works no more; closed, it tells of none", async () => {
    const failures: unknown[] = [];
    let times = 0;
    const failing = new Poll(
      async () => {
        times++;
        throw new Error("no");
      },
      () => 0,
      (error) => failures.push(error),
    );
    failing.start();
    await eventually(() => failures.length === 1);
    await failing.close();
    expect([times, failures.length]).toEqual([1, 1]);

    let fail: (() => void) | null = null;
    const closed = new Poll(
      () => new Promise<void>((_, reject) => (fail = () => reject(new Error("too late")))),
      () => 0,
      (error) => failures.push(error),
    );
    closed.start();
    const begun = await eventually(() => fail);
    const ended = closed.close();
    begun();
    await ended;
    expect(failures).toHaveLength(1);
  });
});
