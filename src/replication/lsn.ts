/**
 * A log sequence number: a byte position in the write-ahead log, as an unsigned 64-bit integer.
 *
 * Its text form (`16/B374D848`) pads differently from place to place, so LSNs are only ever compared
 * as numbers. https://www.postgresql.org/docs/current/datatype-pg-lsn.html
 */
export type Lsn = bigint;

/** Reads `16/B374D848`. Throws a `SyntaxError` on anything else. */
export function parseLsn(text: string): Lsn {
  const match = /^([0-9a-f]{1,8})\/([0-9a-f]{1,8})$/i.exec(text);
  if (match === null) throw new SyntaxError(`"${text}" is not an LSN; expected the form 16/B374D848`);
  return (BigInt(`0x${match[1]}`) << 32n) | BigInt(`0x${match[2]}`);
}

/** Writes an LSN as Postgres does: `16/B374D848`. */
export function formatLsn(lsn: Lsn): string {
  const high = (lsn >> 32n).toString(16).toUpperCase();
  const low = (lsn & 0xffff_ffffn).toString(16).toUpperCase();
  return `${high}/${low}`;
}
