import { describe, expect, test } from "vitest";
import { OPTION_SPECS, readConfig } from "../src/config.ts";
import { WalhookError } from "../src/errors.ts";

const url = "postgresql://bridge@db/shop";

function failure(run: () => unknown): WalhookError {
  try {
    run();
  } catch (error) {
    if (error instanceof WalhookError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe("readConfig", () => {
  test("a flag wins over the variable, the variable over the default", () => {
    expect(readConfig({}, { DATABASE_URL: url }).graceMs).toBe(1000);
    expect(readConfig({}, { DATABASE_URL: url, WALHOOK_GRACE_MS: "20" }).graceMs).toBe(20);
    expect(readConfig({ "grace-ms": "30" }, { DATABASE_URL: url, WALHOOK_GRACE_MS: "20" }).graceMs).toBe(30);
  });

  test("an empty variable counts as not set, an empty flag does not", () => {
    expect(readConfig({}, { DATABASE_URL: url, WALHOOK_GRACE_MS: "" }).graceMs).toBe(1000);
    expect(failure(() => readConfig({ "grace-ms": "" }, { DATABASE_URL: url })).message).toBe('--grace-ms is ""');
  });

  test("the replication connection goes to the same place unless it is told otherwise", () => {
    expect(readConfig({}, { DATABASE_URL: url }).replicationUrl).toBe(url);
    const direct = "postgresql://bridge@direct/shop";
    expect(readConfig({}, { DATABASE_URL: url, REPLICATION_URL: direct }).replicationUrl).toBe(direct);
  });

  test("without a database it says how to name one", () => {
    const error = failure(() => readConfig({}, {}));
    expect(error).toMatchObject({ code: "bad_option", exitCode: 2, message: "no database given" });
    expect(error.hint).toContain("DATABASE_URL");
  });

  test("a command that needs no database gets the other options without one", () => {
    expect(readConfig({}, {}, false)).toMatchObject({ databaseUrl: "", logLevel: "info" });
  });

  test.each(["-1", "1.5", "abc", "1e3", "0x10", " 5", "60001"])("a number of milliseconds is not %j", (text) => {
    const error = failure(() => readConfig({}, { DATABASE_URL: url, WALHOOK_GRACE_MS: text }));
    expect(error.message).toBe(`WALHOOK_GRACE_MS is "${text}"`);
    expect(error.hint).toBe("Use a whole number of ms, 0 to 60000.");
  });

  test("a choice outside the list is refused with the list", () => {
    const error = failure(() => readConfig({ "log-level": "loud" }, { DATABASE_URL: url }));
    expect(error.hint).toBe("Use one of: error, warn, info, debug.");
  });

  test("the result is frozen and has every option", () => {
    const config = readConfig({}, { DATABASE_URL: url });
    expect(Object.isFrozen(config)).toBe(true);
    expect(Object.keys(config).toSorted()).toEqual(Object.keys(OPTION_SPECS).toSorted());
  });

  test("every flag and every variable is there once", () => {
    const specs = Object.values(OPTION_SPECS);
    expect(new Set(specs.map((spec) => spec.flag)).size).toBe(specs.length);
    expect(new Set(specs.map((spec) => spec.env)).size).toBe(specs.length);
  });
});
