import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const SRC = fileURLToPath(new URL("../src/", import.meta.url));

/** The rooms in the order in which data passes them; those that stand beside the pipe have the place of what they need. */
const ROOMS = [
  "db",
  "replication",
  "slot",
  "decode",
  "events",
  "match",
  "render",
  "backfill",
  "deliver",
  "record",
  "preview",
] as const;

/** What any room may use: no idea of the pipe's. */
const COMMON = [
  "config.ts",
  "errors.ts",
  "deferred.ts",
  "remember.ts",
  "to-microseconds.ts",
  "poll.ts",
  "within.ts",
  "bridge-settings.ts",
];

interface Import {
  readonly from: string;
  readonly to: string;
}

const imports: readonly Import[] = readdirSync(SRC, { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".ts"))
  .flatMap((from) =>
    [...readFileSync(join(SRC, from), "utf8").matchAll(/from "(\.{1,2}\/[^"]+)"/g)].map(([, path = ""]) => ({
      from,
      to: normalize(join(dirname(from), path)),
    })),
  );

const roomOf = (file: string): number => ROOMS.indexOf(file.split("/")[0] as (typeof ROOMS)[number]);

describe("the folders of src", () => {
  it.each(ROOMS)("%s imports only from rooms before it and from what all may use", (room) => {
    const own = imports.filter(({ from }) => from.startsWith(`${room}/`));
    expect(own.length).toBeGreaterThan(0);
    const against = own.filter(({ from, to }) =>
      to.includes("/") ? roomOf(to) === -1 || roomOf(to) > roomOf(from) : !COMMON.includes(to),
    );
    expect(against.map(({ from, to }) => `${from} imports ${to}`)).toEqual([]);
  });
});
