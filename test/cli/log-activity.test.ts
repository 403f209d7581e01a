import { expect, test } from "vitest";
import { logActivity } from "../../src/cli/log-activity.ts";
import type { LogLevel } from "../../src/cli/log.ts";
import { explain, type WalhookError } from "../../src/errors.ts";

const met = (message: string, code?: string): WalhookError =>
  explain(Object.assign(new Error(message), code === undefined ? {} : { code }), "running on db");
const refused = (): WalhookError => met("connect ECONNREFUSED", "ECONNREFUSED");

test("an outage is one warning however long it lasts, its further attempts are for debugging", () => {
  const lines: [LogLevel, string, unknown][] = [];
  const tell = logActivity((level, message, fields) => lines.push([level, message, fields?.["code"]]));
  tell({ kind: "state", state: "running", error: null });
  for (const error of [met("Connection terminated unexpectedly"), refused(), refused(), refused()]) {
    tell({ kind: "state", state: "waiting", error });
  }
  tell({ kind: "state", state: "running", error: null });
  tell({ kind: "state", state: "waiting", error: refused() });
  tell({ kind: "state", state: "failed", error: met("gone", "28P01") });
  expect(lines).toEqual([
    ["info", "running", undefined],
    ["warn", "waiting", "connection_lost"],
    ["warn", "waiting", "database_down"],
    ["debug", "waiting", "database_down"],
    ["debug", "waiting", "database_down"],
    ["info", "running", undefined],
    ["warn", "waiting", "database_down"],
    ["error", "failed", "wrong_password"],
  ]);
});
