import fc from "fast-check";
import { Subject, firstValueFrom, from, toArray } from "rxjs";
import { describe, expect, it } from "vitest";
import { type GatherOptions, gatherMap } from "../../src/decode/gather.ts";

/** A projection whose answers the test gives by hand. */
function manual<T>(): {
  project: (value: T) => Promise<T>;
  asked: T[];
  answer: () => Promise<void>;
  fail: (error: Error) => void;
} {
  const open: { value: T; resolve: (value: T) => void; reject: (error: Error) => void }[] = [];
  const asked: T[] = [];
  return {
    asked,
    project: (value) =>
      new Promise<T>((resolve, reject) => {
        asked.push(value);
        open.push({ value, resolve, reject });
      }),
    answer: async () => {
      const next = open.shift();
      next?.resolve(next.value);
      await Promise.resolve();
      await Promise.resolve();
    },
    fail: (error) => open.shift()?.reject(error),
  };
}

const TEXTS: Omit<GatherOptions<string, string>, "project"> = {
  merge: (earlier, later) => earlier + later,
  isFull: (value) => value.length >= 3,
};

function endsWithMark(value: string): boolean {
  return value.endsWith("!");
}

describe("gatherMap", () => {
  it("projects the first value at once and gathers what comes meanwhile", async () => {
    const source = new Subject<string>();
    const { project, asked, answer } = manual<string>();
    const results: string[] = [];
    source.pipe(gatherMap({ ...TEXTS, project })).subscribe((result) => results.push(result));
    source.next("a");
    source.next("b");
    source.next("c");
    expect(asked).toEqual(["a"]);
    await answer();
    expect(asked).toEqual(["a", "bc"]);
    await answer();
    expect(results).toEqual(["a", "bc"]);
  });

  it("merges no further into a full value", async () => {
    const source = new Subject<string>();
    const { project, asked, answer } = manual<string>();
    source.pipe(gatherMap({ ...TEXTS, project })).subscribe();
    for (const text of ["-", "a", "b", "c", "d", "e"]) source.next(text);
    await answer();
    await answer();
    expect(asked).toEqual(["-", "abc", "de"]);
  });

  it("merges nothing behind a barrier, but a barrier behind others", async () => {
    const source = new Subject<string>();
    const { project, asked, answer } = manual<string>();
    source.pipe(gatherMap({ ...TEXTS, isFull: () => false, isBarrier: endsWithMark, project })).subscribe();
    for (const text of ["-", "a", "b!", "c", "d"]) source.next(text);
    await answer();
    await answer();
    expect(asked).toEqual(["-", "ab!", "cd"]);
  });

  it("adds no delay where the projection answers at once", () => {
    const source = new Subject<string>();
    const results: string[] = [];
    source.pipe(gatherMap({ ...TEXTS, project: (value) => value.toUpperCase() })).subscribe((r) => results.push(r));
    source.next("a");
    expect(results).toEqual(["A"]);
    source.next("b");
    expect(results).toEqual(["A", "B"]);
  });

  it("keeps the order where a result causes the next value", () => {
    const source = new Subject<string>();
    const results: string[] = [];
    source.pipe(gatherMap({ ...TEXTS, project: (value) => value })).subscribe((result) => {
      if (result === "a") source.next("b");
      results.push(result);
    });
    source.next("a");
    expect(results).toEqual(["a", "b"]);
  });

  it("completes after the last projection", async () => {
    const source = new Subject<string>();
    const { project, answer } = manual<string>();
    const all = firstValueFrom(source.pipe(gatherMap({ ...TEXTS, project }), toArray()));
    source.next("a");
    source.complete();
    await answer();
    expect(await all).toEqual(["a"]);
  });

  it.each([
    ["rejects", () => Promise.reject(new Error("no"))],
    [
      "throws",
      () => {
        throw new Error("no");
      },
    ],
  ])("fails where the projection %s", async (_how, project) => {
    const source = new Subject<string>();
    const all = firstValueFrom(source.pipe(gatherMap<string, string>({ ...TEXTS, project }), toArray()));
    source.next("a");
    await expect(all).rejects.toThrow("no");
  });

  it("fails where the source does, without waiting", async () => {
    const source = new Subject<string>();
    const { project } = manual<string>();
    const all = firstValueFrom(source.pipe(gatherMap({ ...TEXTS, project }), toArray()));
    source.next("a");
    source.error(new Error("gone"));
    await expect(all).rejects.toThrow("gone");
  });

  it("loses, doubles and reorders nothing, whatever is fast or slow", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.string({ maxLength: 2 }), fc.boolean())), async (values) => {
        const isSlow = values.map(([, slow]) => slow);
        const project = (value: string): string | Promise<string> =>
          isSlow.pop() === true ? Promise.resolve(value) : value;
        const texts = from(values.map(([text]) => text));
        const results = await firstValueFrom(texts.pipe(gatherMap({ ...TEXTS, project }), toArray()));
        expect(results.join("")).toBe(values.map(([text]) => text).join(""));
      }),
    );
  });
});
