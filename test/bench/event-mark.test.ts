import { describe, expect, it } from "vitest";
import { marksIn } from "../../bench/peers/event-mark.ts";

describe("marksIn", () => {
  it("finds the event's number, whatever the body looks like", () => {
    expect([...marksIn('{"after":{"id":7,"note":"@7@note note "}}')]).toEqual([7]);
    expect([...marksIn('[{"name":"note","value":"@12@note "}]')]).toEqual([12]);
  });

  it("tells an event once that shows its mark twice, and all events of a batch", () => {
    expect([...marksIn('[{"old":"@1@x","new":"@1@y"},{"new":"@2@z"}]')]).toEqual([1, 2]);
  });

  it("finds none where there is none", () => {
    expect(marksIn('{"id":1}').size).toBe(0);
  });
});
