const TIMESTAMP = /^(\d{4,}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?\+00$/;

/** A timestamptz as the stream has it, in UTC, as microseconds since 1970; what is beyond all dates is beyond all commits. */
export function toMicroseconds(text: string): bigint {
  if (text === "infinity") return 2n ** 62n;
  const [, date, time, fraction = ""] = TIMESTAMP.exec(text) ?? [];
  if (date === undefined) return -(2n ** 62n);
  return BigInt(Date.parse(`${date}T${time}Z`)) * 1000n + BigInt(fraction.padEnd(6, "0"));
}
