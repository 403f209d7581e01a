import { describe, expect, it } from "vitest";
import { Parts } from "../src/parts.ts";

describe("parts", () => {
  it("are closed the other way round, one after the other, also where one fails, whose error is told then", async () => {
    const parts = new Parts();
    const closed: string[] = [];
    const part = (name: string, error?: Error) => ({
      close: async (): Promise<void> => {
        await Promise.resolve();
        closed.push(name);
        if (error !== undefined) throw error;
      },
    });
    const first = part("first");
    expect(parts.keep(first)).toBe(first);
    parts.keep(part("second", new Error("the later one")));
    parts.keep(part("third", new Error("the earlier one")));
    parts.defer(() => {
      closed.push("deferred");
    });
    await expect(parts.close()).rejects.toThrow("the earlier one");
    expect(closed).toEqual(["deferred", "third", "second", "first"]);
  });

  it("that take too long to close keep none of the others open", async () => {
    const parts = new Parts();
    const closed: string[] = [];
    parts.defer(() => void closed.push("first"));
    parts.defer(() => new Promise(() => {}));
    await parts.close(10);
    expect(closed).toEqual(["first"]);
  });
});
