import { lastValueFrom, Subject, toArray } from "rxjs";
import { describe, expect, it } from "vitest";
import { gatherMap } from "../../src/decode/gather.ts";
import { deferred, type Deferred } from "../../src/deferred.ts";

function setup() {
  const source = new Subject<number[]>();
  const asked: { value: number[]; answer: Deferred<string> }[] = [];
  const result = lastValueFrom(
    source.pipe(
      gatherMap({
        merge: (a, b) => [...a, ...b],
        isFull: (value) => value.length >= 3,
        isBarrier: (value) => value.includes(0),
        project: (value) => {
          const answer = deferred<string>();
          asked.push({ value, answer });
          return answer.promise;
        },
      }),
      toArray(),
    ),
  );
  result.catch(() => {});
  const answerNext = async (n: number): Promise<void> => {
    asked[n]!.answer.resolve(asked[n]!.value.join(","));
    await new Promise(setImmediate);
  };
  return { source, asked, result, answerNext };
}

describe("gatherMap", () => {
  it("projects at once when idle, and together what arrives meanwhile", async () => {
    const { source, asked, result, answerNext } = setup();
    source.next([1]);
    expect(asked.map(({ value }) => value)).toEqual([[1]]);
    source.next([2]);
    source.next([3]);
    await answerNext(0);
    expect(asked.map(({ value }) => value)).toEqual([[1], [2, 3]]);
    await answerNext(1);
    source.complete();
    expect(await result).toEqual(["1", "2,3"]);
  });
  it("merges no more into what is full, and nothing behind a barrier", async () => {
    const { source, asked, answerNext } = setup();
    for (const value of [[1], [2], [3], [4], [5], [0], [6]]) source.next(value);
    for (let n = 0; n < asked.length; n++) await answerNext(n);
    expect(asked.map(({ value }) => value)).toEqual([[1], [2, 3, 4], [5, 0], [6]]);
  });
  it("completes after what is under way", async () => {
    const { source, result, answerNext } = setup();
    source.next([1]);
    source.next([2]);
    source.complete();
    await answerNext(0);
    await answerNext(1);
    expect(await result).toEqual(["1", "2"]);
  });
  it("fails when a projection fails", async () => {
    const { source, asked, result } = setup();
    source.next([1]);
    asked[0]!.answer.reject(new Error("lost"));
    await expect(result).rejects.toThrow("lost");
  });
});
