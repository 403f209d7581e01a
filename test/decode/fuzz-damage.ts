import type { Below, FuzzFrame } from "./fuzz-stream.ts";

/** Counts and lengths that would hurt whoever believed them, as unsigned numbers. */
const HOSTILE = [0, 1, 0x7fff, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 100_000_000, 100_000_001, 0x1000_0000];

/** The kinds of damage, for messages of one frame. */
export const DAMAGES = ["cut", "grown", "flipped", "overwritten", "lengths", "garbage", "tag"] as const;
export type Damage = (typeof DAMAGES)[number];

/** A damaged copy of a message. */
export function damageMessage(frame: FuzzFrame & { readonly kind: "data" }, damage: Damage, below: Below): Buffer {
  const bytes = Buffer.from(frame.bytes);
  switch (damage) {
    case "cut":
      return bytes.subarray(0, below(bytes.length));
    case "grown":
      return Buffer.concat([bytes, randomBytes(1 + below(8), below)]);
    case "flipped":
      for (let flips = 1 + below(8); flips > 0; flips--) flip(bytes, below(bytes.length * 8));
      return bytes;
    case "overwritten": {
      const size = ([1, 2, 4, 8] as const)[below(4)]!;
      if (bytes.length >= size) hostile(below, size).copy(bytes, below(bytes.length - size + 1));
      return bytes;
    }
    case "lengths":
      for (const { at, size } of frame.lengths) if (below(2) === 0) hostile(below, size).copy(bytes, at);
      return bytes;
    case "garbage":
      return randomBytes(below(60), below);
    case "tag":
      bytes[0] = "BCORYIUDTMSEcAbPKrpX".charCodeAt(below(20));
      return bytes;
    default:
      return damage satisfies never;
  }
}

/** Kinds of damage to the order of frames. */
export const DISORDERS = ["dropped", "doubled", "swapped", "stranger", "lsn"] as const;
export type Disorder = (typeof DISORDERS)[number];

/** A copy of the stream in which the frame at `at` is missing, comes twice, too early, from elsewhere, or with another LSN. */
export function disorder(frames: readonly FuzzFrame[], at: number, how: Disorder, below: Below): FuzzFrame[] {
  const copy = [...frames];
  const frame = frames[at] as FuzzFrame;
  const other = frames[below(frames.length)] as FuzzFrame;
  if (how === "dropped") copy.splice(at, 1);
  else if (how === "doubled") copy.splice(at, 0, frame);
  else if (how === "swapped") copy.splice(at, 2, ...frames.slice(at, at + 2).toReversed());
  else if (how === "stranger") copy[at] = other;
  else copy[at] = { ...frame, lsn: hostile(below, 8).readBigUInt64BE() };
  return copy;
}

function hostile(below: Below, size: 1 | 2 | 4 | 8): Buffer {
  const value = HOSTILE[below(HOSTILE.length)] as number;
  const bytes = Buffer.alloc(8);
  bytes.writeUInt32BE(below(2) === 0 ? value : 0, 0);
  bytes.writeUInt32BE(value, 4);
  return bytes.subarray(8 - size);
}

function flip(bytes: Buffer, bit: number): void {
  const at = bit >> 3;
  bytes[at] = (bytes[at] ?? 0) ^ (1 << (bit & 7));
}

function randomBytes(length: number, below: Below): Buffer {
  const bytes = Buffer.alloc(length);
  for (let index = 0; index < length; index++) bytes[index] = below(256);
  return bytes;
}
