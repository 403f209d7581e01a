import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DecodeError } from "../../src/decode/decode-error.ts";
import { parsePgoutput } from "../../src/decode/pgoutput.ts";
import { seeded } from "../record/seeded.ts";
import { decodeFrames } from "./fuzz-decoding.ts";
import { damageMessage, DAMAGES, disorder, DISORDERS } from "./fuzz-damage.ts";
import { makeStream, type Below, type FuzzFrame } from "./fuzz-stream.ts";
import { Watchdog } from "./fuzz-watchdog.ts";
import { readRecordings } from "./golden/recording.ts";

/** A long run: WALHOOK_FUZZ_SECONDS=600, for each test; a failing seed again: WALHOOK_SEED=<seed> WALHOOK_SCHEDULES=1. */
const FIRST_SEED = Number(process.env["WALHOOK_SEED"] ?? 1);
const SCHEDULES = Number(process.env["WALHOOK_SCHEDULES"] ?? 3_000);
const SECONDS = Number(process.env["WALHOOK_FUZZ_SECONDS"] ?? 0);
/** Long enough for everything to have happened. */
const IS_LONG = SCHEDULES >= 1_000;
const OPTIONS = { timeout: 60_000 + 2_000 * SECONDS };

const RECORDINGS = readRecordings();
const watchdog = new Watchdog();
const unhandled: unknown[] = [];
const note = (reason: unknown): void => void unhandled.push(reason);

beforeAll(() => {
  process.on("unhandledRejection", note).on("uncaughtException", note);
});
afterAll(async () => {
  process.off("unhandledRejection", note).off("uncaughtException", note);
  await watchdog.close();
});

type DataFrame = FuzzFrame & { readonly kind: "data" };

/** Runs a case for each seed, so many or so long; a case that hangs ends the process with its seed. */
async function forEachSeed(run: (below: Below, seed: number) => Promise<void> | void): Promise<void> {
  const deadline = Date.now() + SECONDS * 1000;
  for (let seed = FIRST_SEED; seed < FIRST_SEED + SCHEDULES || Date.now() < deadline; seed++) {
    watchdog.begin(seed);
    const random = seeded(seed);
    await run((n) => Math.floor(random() * n), seed);
    if (seed % 1000 === 0) await new Promise(setImmediate);
    if (unhandled.length > 0) expect(unhandled, `seed ${seed}`).toEqual([]);
  }
  watchdog.rest();
}

/** Frames that a real server sent, of any version. */
function recorded(below: Below): readonly FuzzFrame[] {
  return RECORDINGS[below(RECORDINGS.length)]!.frames.map((frame) => ({ ...frame, lengths: [] }));
}

function dataFrames(below: Below): readonly DataFrame[] {
  return makeStream(below).filter((frame) => frame.kind === "data");
}

/** True where the bytes were a message, false where they were refused as they must be. */
function isMessage(bytes: Buffer): boolean {
  try {
    parsePgoutput(bytes, 1000);
    return true;
  } catch (error) {
    if (error instanceof DecodeError) return false;
    throw error;
  }
}

describe("the parser", () => {
  it("reads messages of every kind, and refuses each of them cut short at any length", OPTIONS, async () => {
    const seen = new Set<string>();
    await forEachSeed((below, seed) => {
      if (seed % 50 !== 0) return;
      for (const { bytes } of dataFrames(below)) {
        seen.add(String.fromCharCode(bytes[0] ?? 0));
        if (!isMessage(bytes)) throw new Error(`seed ${seed}: ${bytes.toString("hex")} is refused`);
        const last = Math.min(bytes.length - 1, 200);
        for (let length = 0; length <= last; length++) {
          if (isMessage(bytes.subarray(0, length))) throw new Error(`seed ${seed}: ${length} bytes are taken`);
        }
      }
    });
    expect(seen.size).toBeGreaterThan(0);
    if (IS_LONG) expect([...seen].toSorted().join("")).toBe("BCDIMORTUY");
  });

  it(
    "gives a message or a DecodeError for damaged bytes, and prepares nothing for a length that is not there",
    OPTIONS,
    async () => {
      const refused = new Set<string>();
      await forEachSeed((below, seed) => {
        const frames = dataFrames(below);
        for (const damage of DAMAGES) {
          const bytes = damageMessage(frames[below(frames.length)] as DataFrame, damage, below);
          const before = usedBytes();
          if (!isMessage(bytes)) refused.add(damage);
          const grown = usedBytes() - before;
          if (grown > 1_000_000 + 100 * bytes.length) {
            throw new Error(`seed ${seed}: ${grown} bytes for ${bytes.toString("hex")}`);
          }
        }
      });
      expect(refused.size).toBeGreaterThan(0);
      if (IS_LONG) expect([...refused].toSorted()).toEqual([...DAMAGES].toSorted());
    },
  );
});

describe("the decoder", () => {
  it("gives the same changes however frames arrive and whenever the catalog answers", OPTIONS, async () => {
    await forEachSeed(async (below, seed) => {
      if (seed % 3 !== 0) return;
      const frames = makeStream(below);
      const [first, second] = [await decodeFrames(frames, below), await decodeFrames(frames, below)];
      expect(first.errors, `seed ${seed}`).toEqual([]);
      expect(first.isComplete, `seed ${seed}`).toBe(true);
      expect(second.changes, `seed ${seed}`).toEqual(first.changes);
    });
  });

  it("gives exactly the rest when it resumes behind any chunk", OPTIONS, async () => {
    await forEachSeed(async (below, seed) => {
      if (seed % 3 !== 0) return;
      const frames = makeStream(below);
      const whole = await decodeFrames(frames, below);
      if (whole.chunks.length === 0) return;
      const last = below(whole.chunks.length);
      const told = whole.chunks.slice(0, last + 1);
      const rest = await decodeFrames(frames, below, told.at(-1)!.position);
      const changes = told.reduce((sum, chunk) => sum + chunk.changes.length, 0);
      expect(rest.changes, `seed ${seed}`).toEqual(whole.changes.slice(changes));
      const configuration = whole.chunks.slice(last + 1).flatMap((chunk) => chunk.configuration);
      expect(
        rest.chunks.flatMap((chunk) => chunk.configuration),
        `seed ${seed}`,
      ).toEqual(configuration);
    });
  });

  it(
    "tells of a damaged frame by one DecodeError or decodes it, after exactly the changes that came before",
    OPTIONS,
    async () => {
      let failed = 0;
      await forEachSeed(async (below, seed) => {
        const frames = below(20) === 0 ? recorded(below) : makeStream(below);
        const at = below(frames.length);
        const damaged = damageStream(frames, at, below);
        const { changes, errors, isComplete } = await decodeFrames(damaged, below);
        const { changes: before } = await decodeFrames(frames.slice(0, at), below);
        failed += errors.length;
        const problem = outcomeProblem(errors, isComplete) ?? orderProblem(changes, before, errors.length > 0);
        if (problem !== null) throw new Error(`seed ${seed}: ${problem}`, { cause: errors[0] });
      });
      expect(failed).toBeGreaterThan(0);
      if (IS_LONG) expect(failed).toBeGreaterThan(SCHEDULES / 3);
    },
  );
});

function damageStream(frames: readonly FuzzFrame[], at: number, below: Below): readonly FuzzFrame[] {
  const frame = frames[at] as FuzzFrame;
  if (frame.kind === "keepalive" || below(3) === 0) {
    return disorder(frames, at, DISORDERS[below(DISORDERS.length)]!, below);
  }
  const bytes = damageMessage(frame, DAMAGES[below(DAMAGES.length)]!, below);
  return [...frames.slice(0, at), { ...frame, bytes }, ...frames.slice(at + 1)];
}

function outcomeProblem(errors: readonly unknown[], isComplete: boolean): string | null {
  if (errors.length > 1) return `${errors.length} errors`;
  if (errors.length === 0) return isComplete ? null : "it does not come to an end";
  if (!(errors[0] instanceof DecodeError)) return `not a DecodeError: ${String(errors[0])}`;
  return isComplete ? "an error and an end" : null;
}

/** What the frames before the damaged one decide has come out; an error may cut it short, and nothing else. */
function orderProblem(changes: readonly string[], before: readonly string[], isCutShort: boolean): string | null {
  if (changes.length < before.length && !isCutShort) return `only ${changes.length} of ${before.length} changes`;
  for (const [index, change] of changes.slice(0, before.length).entries()) {
    if (change !== before[index]) return `change ${index} is ${change} instead of ${before[index]}`;
  }
  return null;
}

function usedBytes(): number {
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}
