import { generateKeyPairSync } from "node:crypto";
import { describe, expect, it } from "vitest";
import { decodeKey, decodePublicKey, encodeKeyPair, publicBytes } from "../../src/deliver/signing-key.ts";

const WHSK = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
const WHPK = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";

describe("a secret", () => {
  it("can be any text that is not empty", () => {
    for (const secret of ["x", "WHSEC_x", "my whsec_ secret", "whsec_QUJD", "whsec_QUJDRA==", "whsec_QUJDRA"]) {
      expect(decodeKey(secret).kind).toBe("symmetric");
    }
    expect(() => decodeKey("")).toThrow("the secret is empty");
  });
  it("must be base64 where it begins with whsec_, as every receiver's library reads it", () => {
    for (const secret of ["whsec_", "whsec_not base64!", "whsec_QUJD-_==", "whsec_A", "whsec_QUJDRA="]) {
      expect(() => decodeKey(secret)).toThrow(SyntaxError);
    }
  });
  it("must be a seed and its own public key where it begins with whsk_", () => {
    expect(decodeKey(WHSK)).toMatchObject({ kind: "ed25519", publicKey: WHPK });
    const bytes = Buffer.from(WHSK.slice(5), "base64");
    const seed = bytes.subarray(0, 32).toString("base64");
    bytes[63]! ^= 1;
    for (const digits of ["", seed, bytes.toString("base64"), WHSK.slice(5, -2)]) {
      expect(() => decodeKey(`whsk_${digits}`)).toThrow(SyntaxError);
    }
  });
  it("that an earlier version took as a text stays one, whatever it begins with", () => {
    expect(decodeKey("whsk_abc", "symmetric").kind).toBe("symmetric");
  });
  it("is not a public key", () => {
    expect(() => decodeKey(WHPK)).toThrow("public key, which signs nothing");
  });
  it("is never repeated by an error", () => {
    for (const secret of ["whsec_s3cr3t!", "whsk_s3cr3t!"]) {
      expect(() => decodeKey(secret)).not.toThrow(/s3cr3t/);
      expect(() => decodeKey(secret)).toThrow(/must be followed by|not base64/);
    }
  });
});

describe("a pair of keys", () => {
  it("comes back as it was written", () => {
    const pair = encodeKeyPair(generateKeyPairSync("ed25519").privateKey);
    expect(decodeKey(pair.privateKey)).toMatchObject({ kind: "ed25519", publicKey: pair.publicKey });
    expect(`whpk_${publicBytes(decodePublicKey(pair.publicKey)).toString("base64")}`).toBe(pair.publicKey);
  });
  it("has a public half of 32 bytes", () => {
    for (const text of ["whpk_", "whpk_QUJD", WHPK.slice(5), WHSK]) {
      expect(() => decodePublicKey(text)).toThrow(SyntaxError);
    }
  });
});
