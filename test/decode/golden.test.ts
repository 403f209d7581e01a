import { expect, it } from "vitest";
import { parsePgoutput } from "../../src/decode/pgoutput.ts";
import { CHANGES } from "./golden/changes.ts";
import { decodeRecording } from "./golden/decode-recording.ts";
import { readRecordings } from "./golden/recording.ts";

const RECORDINGS = readRecordings();

it("has what PostgreSQL 14 to 18 sent, with messages of every kind", () => {
  expect(RECORDINGS.map(({ server }) => server.split(".")[0])).toEqual(["14", "15", "16", "17", "18"]);
  for (const { frames } of RECORDINGS) {
    const tags = new Set(frames.map(({ bytes }) => String.fromCharCode(bytes[0] ?? 0)));
    expect([...tags].toSorted().join("")).toBe("BCDIMORTUY");
  }
});

it.each(RECORDINGS)("decodes the bytes of PostgreSQL $server to what was done", async ({ frames }) => {
  expect(await decodeRecording(frames)).toEqual(CHANGES);
});

it.each(RECORDINGS)("reads each message of PostgreSQL $server and refuses it when a byte is missing", ({ frames }) => {
  for (const { bytes } of frames) {
    expect(() => parsePgoutput(bytes)).not.toThrow();
    expect(() => parsePgoutput(bytes.subarray(0, -1))).toThrow("wanted");
  }
});
