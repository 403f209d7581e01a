import { readFileSync } from "node:fs";
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { DEFAULT_RETRY_SCHEDULE_MS, HOPELESS_STATUS_CODES } from "../../src/deliver/retry.ts";
import { formatLsn } from "../../src/replication/lsn.ts";
import { pageUrl } from "./generated.ts";

const page = readFileSync(pageUrl("verify.md"), "utf8");
const [, block = ""] = /```js\n(function isOlder[^]*?)```/.exec(page) ?? [];
const isOlder = runInNewContext(`${block}; isOlder`) as (lsn: string, than: string) => boolean;

describe("docs/verify.md", () => {
  it("has a function that compares LSNs as the numbers that they are", () => {
    expect(isOlder("0/9000000", "0/10000000")).toBe(true);
    expect(isOlder("A/0", "10/0")).toBe(true);
    expect(isOlder("1/0", "0/FFFFFFFF")).toBe(false);
    const lsn = fc.oneof(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), fc.bigInt({ min: 0n, max: 2n ** 33n }));
    fc.assert(
      fc.property(
        lsn,
        lsn,
        (a, b) => isOlder(formatLsn(a), formatLsn(b)) === a < b && !isOlder(formatLsn(a), formatLsn(a)),
      ),
    );
  });

  it("says what is tried how often, as the bridge does", () => {
    const [, answers = ""] = page.split("## Answer");
    expect(answers).toContain(
      `${HOPELESS_STATUS_CODES.slice(0, -1).join(", ")} and ${HOPELESS_STATUS_CODES.at(-1)} say`,
    );
    const [, delays = ""] = /tried again after ([^]*?), each up to/.exec(answers) ?? [];
    const units = { s: 1_000, min: 60_000, h: 3_600_000 } as const;
    const told = delays.split(", ").map((text) => {
      const [n, unit] = text.split(" ") as [string, keyof typeof units];
      return Number(n) * units[unit];
    });
    expect(told).toEqual(DEFAULT_RETRY_SCHEDULE_MS);
  });
});
