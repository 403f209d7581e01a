import type { Config } from "../config.ts";

export type LogLevel = Config["logLevel"];

/** Facts beside a message; values are printed as JSON where they are not plain words. */
export type LogFields = Readonly<Record<string, string | number | boolean | null>>;

/** Writes lines for whoever watches the process: one line an entry, never more. */
export type Log = (level: LogLevel, message: string, fields?: LogFields) => void;

const RANK: Readonly<Record<LogLevel, number>> = { error: 0, warn: 1, info: 2, debug: 3 };

/**
 * A log in one of two forms: `2026-01-31T12:00:00.000Z info  message key=value` for people,
 * `{"time":…,"level":…,"message":…,"key":…}` for machines.
 */
export function createLog(
  { logLevel, logFormat }: Pick<Config, "logLevel" | "logFormat">,
  write: (line: string) => void,
  now: () => Date = () => new Date(),
): Log {
  return (level, message, fields = {}) => {
    if (RANK[level] > RANK[logLevel]) return;
    const time = now().toISOString();
    if (logFormat === "json") {
      write(JSON.stringify({ time, level, message, ...fields }));
      return;
    }
    const facts = Object.entries(fields).map(([key, value]) => ` ${key}=${toWord(value)}`);
    write(`${time} ${level.padEnd(5)} ${message.replaceAll(/\s*\n\s*/g, " ")}${facts.join("")}`);
  };
}

function toWord(value: string | number | boolean | null): string {
  return typeof value === "string" && /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value);
}
