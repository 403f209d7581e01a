import { expect, test } from "vitest";
import { createLog, type LogLevel } from "../../src/cli/log.ts";

function logged(logLevel: LogLevel, logFormat: "text" | "json", use: (log: ReturnType<typeof createLog>) => void) {
  const lines: string[] = [];
  use(
    createLog(
      { logLevel, logFormat },
      (line) => lines.push(line),
      () => new Date("2026-01-31T12:00:00Z"),
    ),
  );
  return lines;
}

test("text is one line an entry: time, level, message, facts", () => {
  const lines = logged("info", "text", (log) => {
    log("info", "bridge running", { slot: "walhook_5_1", retries: 0 });
    log("error", "it\n  broke", { reason: 'a "b"', nothing: null });
  });
  expect(lines).toEqual([
    "2026-01-31T12:00:00.000Z info  bridge running slot=walhook_5_1 retries=0",
    '2026-01-31T12:00:00.000Z error it broke reason="a \\"b\\"" nothing=null',
  ]);
});

test("json is one object a line", () => {
  const [line = ""] = logged("info", "json", (log) => log("warn", "a\nb", { n: 1 }));
  expect(JSON.parse(line)).toEqual({ time: "2026-01-31T12:00:00.000Z", level: "warn", message: "a\nb", n: 1 });
  expect(line).not.toContain("\n");
});

test("nothing below the level is written", () => {
  const lines = logged("warn", "text", (log) => {
    for (const level of ["error", "warn", "info", "debug"] as const) log(level, level);
  });
  expect(lines).toHaveLength(2);
});
