const TIMESTAMP = /^(\d{4,})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?\+00( BC)?$/;
/** Earlier or later than any commit. */
const FOREVER = 2n ** 62n;

/**
 * A timestamptz as the stream has it, in UTC, as microseconds since 1970. Postgres' last year is 294276, beyond what a `Date` can
 * be: its days are counted in whole cycles of the calendar, 400 years each.
 */
export function toMicroseconds(text: string): bigint {
  if (text === "infinity") return FOREVER;
  const parts = TIMESTAMP.exec(text);
  if (parts === null) return -FOREVER;
  const [, years, month, day, hour, minute, second, fraction = "", era] = parts;
  const year = era === undefined ? Number(years) : 1 - Number(years);
  const cycles = Math.floor((year - 2000) / 400);
  const ms = Date.UTC(
    year - 400 * cycles,
    Number(month) - 1,
    Number(day),
    Number(hour),
    Number(minute),
    Number(second),
  );
  return BigInt(ms) * 1000n + BigInt(cycles) * CYCLE_US + BigInt(fraction.padEnd(6, "0"));
}

/** 400 years of the Gregorian calendar. */
const CYCLE_US = 146_097n * 86_400_000_000n;
