/** Microseconds since 1970-01-01 UTC as ISO 8601 with all six digits: `2026-11-24T16:55:32.000001Z`. */
export function isoCommitTime(commitTimeUs: bigint): string {
  // A JavaScript number holds microseconds exactly until the year 2255.
  const us = Number(commitTimeUs);
  const ms = Math.floor(us / 1000);
  const micros = us - ms * 1000;
  const iso = new Date(ms).toISOString();
  return `${iso.slice(0, -1)}${String(micros).padStart(3, "0")}Z`;
}
