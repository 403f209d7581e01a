import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { KeyRing, type Signing } from "../../src/deliver/key-ring.ts";
import { readReference } from "../../src/deliver/secret-reference.ts";
import type { Secret } from "../../src/match/webhook.ts";

const WHSK = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
let root: string;
let folder: string;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "walhook-keys-"));
  folder = join(root, "secrets");
  await mkdir(join(folder, "sub"), { recursive: true });
  await writeFile(join(root, "outside.key"), "s3cr3t");
  await writeFile(join(folder, "sub", "inside.key"), `${WHSK}\r\n`);
  await writeFile(join(folder, "empty.key"), "\n");
  await writeFile(join(folder, "large.key"), "x".repeat(70_000));
  await symlink(join(root, "outside.key"), join(folder, "link.key"));
  await symlink(join(folder, "sub", "inside.key"), join(folder, "current.key"));
});
afterAll(() => rm(root, { recursive: true, force: true }));

const webhook = (...secrets: readonly (Partial<Secret> & { readonly text: string })[]): Signing => ({
  secrets: secrets.map((secret) => ({ kind: "symmetric", expiresAtMs: null, id: null, ...secret })),
  signatureFormats: ["standard", "frappe"],
});
const ring = (env: Record<string, string> = {}): KeyRing => new KeyRing({ env, folder });

describe("a webhook's keys", () => {
  it("are decoded once and are the same until one expires, to the millisecond", () => {
    const keys = ring();
    const rotated = webhook({ text: "former", expiresAtMs: 1_000 }, { text: "latter" });
    const both = keys.keysOf(rotated, 0);
    expect(both).toHaveLength(2);
    expect(keys.keysOf(rotated, 999)).toBe(both);
    const one = keys.keysOf(rotated, 1_000);
    expect(one).toEqual([both[1]]);
    expect(keys.keysOf(rotated, 5_000)).toBe(one);
  });

  it("are none, without a problem, where the webhook does not sign", () => {
    expect([ring().keysOf(webhook(), 0), ring().problemOf(webhook(), 0)]).toEqual([[], null]);
  });

  it("are a problem where one that signs cannot be used, or none is left", () => {
    const keys = ring();
    const broken = webhook({ text: "former", expiresAtMs: 1_000 }, { text: "whsec_!" });
    expect(keys.problemOf(broken, 0)).toMatch(/cannot be used: .*not base64/);
    expect(keys.keysOf(broken, 0)).toEqual([]);
    const swapped = webhook({ text: "whsec_!", expiresAtMs: 1_000 }, { text: "latter" });
    expect(keys.problemOf(swapped, 1_000)).toBeNull();
    expect(keys.problemOf(webhook({ text: "former", expiresAtMs: 1_000 }), 1_000)).toContain("expired");
    const asymmetric = { ...webhook({ text: WHSK, kind: "ed25519" }), signatureFormats: ["github"] as const };
    expect(keys.problemOf(asymmetric, 0)).toContain("needs a symmetric secret");
  });

  it("that stand elsewhere are read by refresh, which says whether anything changed", async () => {
    const env: Record<string, string> = {};
    const keys = ring(env);
    const elsewhere = webhook({ text: "env:WALHOOK_SECRET_A", kind: "reference" });
    expect(keys.problemOf(elsewhere, 0)).toContain("has not been read yet");
    expect(await keys.refresh([elsewhere])).toBe(true);
    expect(keys.problemOf(elsewhere, 0)).toContain("is not set in the environment of the bridge");
    env["WALHOOK_SECRET_A"] = WHSK;
    expect(await keys.refresh([elsewhere])).toBe(true);
    expect(keys.keysOf(elsewhere, 0)).toMatchObject([{ kind: "ed25519" }]);
    expect(await keys.refresh([elsewhere])).toBe(false);
    env["WALHOOK_SECRET_A"] = "";
    expect(await keys.refresh([elsewhere])).toBe(true);
    expect(keys.problemOf(elsewhere, 0)).toContain("is empty");
  });
});

describe("a reference", () => {
  const read = (reference: string): Promise<unknown> => readReference(reference, { env: { HOME: "/root" }, folder });

  it("to a file means its text without the line end, by a relative or an absolute path or a link inside", async () => {
    const found = { text: WHSK };
    expect(await read("file:sub/inside.key")).toEqual(found);
    expect(await read(`file:${folder}/sub/inside.key`)).toEqual(found);
    expect(await read("file:current.key")).toEqual(found);
  });

  it.each([
    ["file:../outside.key", /outside of the folder/],
    ["file:link.key", /outside of the folder/],
    ["file:/etc/hostname", /outside of the folder/],
    ["file:sub", /not a file/],
    ["file:empty.key", /is empty/],
    ["file:large.key", /more than 65536 bytes/],
    ["file:nothing.key", /cannot be read by the bridge: ENOENT/],
    ["env:HOME", /must begin with WALHOOK_SECRET_/],
    ["env:WALHOOK_SECRET_NONE", /not set/],
  ])("%s leads nowhere", async (reference, reason) => {
    expect(await read(reference)).toEqual({ problem: expect.stringMatching(reason) });
  });
});
