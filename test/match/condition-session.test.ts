import { describe, expect, it } from "vitest";
import { readBooleans } from "../../src/match/condition-session.ts";

describe("an array of booleans", () => {
  it.each([
    ["{}", []],
    ["{t}", [true]],
    ["{NULL}", [null]],
    ["{t,f,NULL,t}", [true, false, null, true]],
    ["{NULL,NULL,f}", [null, null, false]],
  ])("%s is read element by element", (text, booleans) => {
    expect(readBooleans(text)).toEqual(booleans);
  });
});
