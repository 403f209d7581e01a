import { describe, expect, test } from "vitest";
import { checkDeliveries } from "../../../src/cli/check/check-deliveries.ts";
import type { DeliveryFacts } from "../../../src/cli/check/delivery-facts.ts";

const GOOD: DeliveryFacts = {
  name: "o'brien",
  isEnabled: true,
  isPaused: false,
  state: "ok",
  lastError: null,
  health: "ok",
  lastFailure: null,
  waiting: 0,
  deadLetters: 0,
};

function complaints(facts: Partial<DeliveryFacts>): string[] {
  return checkDeliveries([{ ...GOOD, ...facts }]).map(({ level, where, what, remedy }) => {
    expect(where).toBe("webhook o'brien");
    return `${level} ${what} -> ${remedy}`;
  });
}

describe("checkDeliveries", () => {
  test("has nothing to say against a webhook that does well, or that somebody has disabled", () => {
    expect(complaints({})).toEqual([]);
    expect(complaints({ isEnabled: false, health: "failing" })).toEqual([]);
  });

  test.each([
    [{ isEnabled: false, state: "disabled", lastError: "HTTP 410" }, /^problem Walhook has disabled it: HTTP 410 -> /],
    [{ isPaused: true, waiting: 1 }, /^warning is paused, 1 delivery waits -> select walhook\.resume\('o''brien'\);$/],
    [{ state: "undecided", lastError: "slow", waiting: 2 }, /^problem cannot decide, 2 deliveries wait: slow -> /],
    [{ state: "invalid", lastError: "bad" }, /^problem can make nothing: bad -> Change its template\.$/],
    [{ health: "opened", lastFailure: "HTTP 503" }, /^problem its receiver fails, 0 deliveries wait: HTTP 503 -> /],
    [{ health: "failing", lastFailure: "HTTP 404" }, /^warning its receiver fails, 0 deliveries wait: HTTP 404 -> /],
    [{ deadLetters: 3 }, /^warning 3 dead letters -> .*walhook\.replay_dead_letters\('o''brien'\)/],
  ])("finds %j, with its remedy", (facts, expected) => {
    expect(complaints(facts)).toEqual([expect.stringMatching(expected)]);
  });

  test("leaves to others what they find: a lost right, an address, a secret, consent", () => {
    for (const state of ["held", "blocked"]) expect(complaints({ state, lastError: "x" })).toEqual([]);
  });
});
