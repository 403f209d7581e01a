import { describe, expect, it } from "vitest";
import { copyBytes, copyMicroseconds, copyText, copyTime } from "../../src/record/copy-text.ts";

describe("a COPY field", () => {
  it("escapes what would end the field or the row", () => {
    expect(copyText("a\tb\nc\rd\\e")).toBe("a\\tb\\nc\\rd\\\\e");
  });
  it("keeps everything else as it is, and tells NULL from the text \\N", () => {
    expect(copyText("é ☃ 'quoted'")).toBe("é ☃ 'quoted'");
    expect(copyText(null)).toBe("\\N");
    expect(copyText("\\N")).toBe("\\\\N");
  });
  it("cannot hold a NUL, which becomes the replacement character", () => {
    expect(copyText("a\0b")).toBe("a\uFFFDb");
  });
  it("writes bytes as hex", () => {
    expect(copyBytes(Buffer.from([0, 255]))).toBe("\\\\x00ff");
  });
  it("keeps microseconds, before 1970 as well", () => {
    expect(copyMicroseconds(1_700_000_000_123_456n)).toBe("2023-11-14T22:13:20.123456Z");
    expect(copyMicroseconds(-1n)).toBe("1969-12-31T23:59:59.999999Z");
    expect(copyTime(0)).toBe("1970-01-01T00:00:00.000Z");
  });
});
