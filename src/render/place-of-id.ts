import type { Position } from "../decode/position.ts";

const PLACE = /^msg_([0-9a-v]{32})[0-9a-v]{16}$/;

/** The place of the change that a delivery's id (`delivery-id.ts`) names; null where the text is no such id. */
export function placeOfId(id: string): Position | null {
  const digits = PLACE.exec(id)?.[1];
  if (digits === undefined) return null;
  let bits = 0n;
  for (const digit of digits) bits = bits * 32n + BigInt(Number.parseInt(digit, 32));
  return {
    commitLsn: bits >> 96n,
    changeLsn: (bits >> 32n) & 0xffff_ffff_ffff_ffffn,
    index: Number(bits & 0xffff_ffffn),
  };
}
