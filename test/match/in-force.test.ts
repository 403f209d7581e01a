import { describe, expect, it } from "vitest";
import type { ConfigurationChange } from "../../src/decode/chunk.ts";
import { InForce } from "../../src/match/in-force.ts";

const webhook = (over: Record<string, string | null> = {}): Record<string, string | null> => ({
  id: "7",
  name: "new-order",
  doctype_oid: "100",
  webhook_docevent: "after_insert, on_trash",
  enabled: "t",
  request_url: "https://example.com",
  timeout_ms: "2500",
  ...over,
});
const change = (
  table: ConfigurationChange["table"],
  kind: ConfigurationChange["kind"],
  row: Record<string, string | null>,
): ConfigurationChange => ({ table, kind, row });
const empty = new InForce(new Map());

describe("the webhooks in force", () => {
  it("gain a webhook with its header, data and secret rows in whatever order one transaction writes them", () => {
    const { inForce, changed, removed } = empty.apply([
      change("webhook_secret", "insert", { id: "1", webhook_id: "7", secret: "s3cret", kind: "symmetric" }),
      change("webhook_header", "insert", { id: "2", webhook_id: "7", key: "X-B", value: "b" }),
      change("webhook", "insert", webhook({ enable_security: "t" })),
      change("webhook_header", "insert", { id: "1", webhook_id: "7", key: "X-A", value: "a" }),
      change("webhook_data", "insert", { id: "1", webhook_id: "7", fieldname: "total", key: "amount" }),
    ]);
    expect(inForce.webhooks.get(7)).toMatchObject({
      name: "new-order",
      secrets: [{ text: "s3cret", kind: "symmetric", expiresAtMs: null }],
      timeoutMs: 2500,
      events: ["after_insert", "on_trash"],
      headers: [
        { key: "X-A", value: "a" },
        { key: "X-B", value: "b" },
      ],
      data: [{ fieldname: "total", key: "amount" }],
    });
    expect([...changed.keys()]).toEqual([7]);
    expect(removed).toEqual([]);
  });

  it("are found by table and event, enabled ones only", () => {
    const { inForce } = empty.apply([change("webhook", "insert", webhook())]);
    expect(
      inForce
        .onTable(100)
        ?.get("on_trash")
        ?.map(({ id }) => id),
    ).toEqual([7]);
    expect(inForce.onTable(100)?.get("on_update")).toBeUndefined();
    expect(inForce.onTable(101)).toBeUndefined();
    const off = inForce.apply([change("webhook", "update", webhook({ enabled: "f" }))]).inForce;
    expect(off.onTable(100)).toBeUndefined();
    expect(off.webhooks.get(7)?.enabled).toBe(false);
  });

  it("are onlookers of their table where they keep decisions, also while they are disabled", () => {
    const kept = { log_decisions: "t" };
    const { inForce } = empty.apply([
      change("webhook", "insert", webhook(kept)),
      change("webhook", "insert", webhook({ id: "8", name: "off", enabled: "f", ...kept })),
      change("webhook", "insert", webhook({ id: "9", name: "other" })),
    ]);
    expect(inForce.onlookers?.get(100)?.map(({ id }) => id)).toEqual([7, 8]);
    expect(inForce.onlookers?.get(101)).toBeUndefined();
    expect(empty.onlookers).toBeUndefined();
  });

  it("lose a deleted webhook whole, also when its children go in the same transaction", () => {
    const { inForce } = empty.apply([
      change("webhook", "insert", webhook()),
      change("webhook_header", "insert", { id: "1", webhook_id: "7", key: "X-A", value: "a" }),
    ]);
    const after = inForce.apply([
      change("webhook", "delete", webhook()),
      change("webhook_header", "delete", { id: "1", webhook_id: "7", key: "X-A", value: "a" }),
    ]);
    expect(after.inForce.webhooks.size).toBe(0);
    expect(after.removed).toEqual([7]);
  });

  it("see a header row move to another webhook", () => {
    const { inForce } = empty.apply([
      change("webhook", "insert", webhook()),
      change("webhook", "insert", webhook({ id: "8", name: "other" })),
      change("webhook_header", "insert", { id: "1", webhook_id: "7", key: "X-A", value: "a" }),
    ]);
    const moved = inForce.apply([
      change("webhook_header", "update", { id: "1", webhook_id: "8", key: "X-A", value: "a" }),
    ]);
    expect(moved.inForce.webhooks.get(7)?.headers).toEqual([]);
    expect(moved.inForce.webhooks.get(8)?.headers).toHaveLength(1);
    expect([...moved.changed.keys()].toSorted((a, b) => a - b)).toEqual([7, 8]);
  });

  it("sign with several secrets, and with the one that an earlier version stored until the upgrade numbers it", () => {
    const definition = { webhook: webhook({ enable_security: "t" }), headers: [], data: [], secret: "stored" };
    const before = new InForce(new Map([[7, definition]]));
    const textsOf = (inForce: InForce) => inForce.webhooks.get(7)?.secrets.map(({ text }) => text);
    expect(textsOf(before)).toEqual(["stored"]);
    const later = before.apply([change("webhook_secret", "update", { webhook_id: "7", secret: "later" })]).inForce;
    expect(textsOf(later)).toEqual(["later"]);
    const row = { id: "1", webhook_id: "7", secret: "later", kind: "symmetric", expires_at_ms: null };
    const upgraded = later.apply([change("webhook_secret", "update", row)]).inForce;
    expect(textsOf(upgraded)).toEqual(["later"]);
    const { inForce: rotated, changed } = upgraded.apply([
      change("webhook_secret", "update", { ...row, expires_at_ms: "1000" }),
      change("webhook_secret", "insert", { ...row, id: "2", secret: "whsk_x", kind: "ed25519" }),
    ]);
    expect(rotated.webhooks.get(7)?.secrets).toEqual([
      { text: "later", kind: "symmetric", expiresAtMs: 1000, id: "1" },
      { text: "whsk_x", kind: "ed25519", expiresAtMs: null, id: "2" },
    ]);
    const again = new InForce(new Map(JSON.parse(JSON.stringify([...changed]))));
    expect(again.webhooks).toEqual(rotated.webhooks);
    const rest = rotated.apply([change("webhook_secret", "delete", row)]).inForce;
    expect(textsOf(rest)).toEqual(["whsk_x"]);
  });

  it("are immutable: the set before a change stays as it was", () => {
    const { inForce } = empty.apply([change("webhook", "insert", webhook())]);
    inForce.apply([change("webhook", "update", webhook({ request_url: "https://other.example" }))]);
    expect(inForce.webhooks.get(7)?.requestUrl).toBe("https://example.com");
  });

  it("are equal after a round trip through the stored definitions", () => {
    const { inForce, changed } = empty.apply([
      change("webhook", "insert", webhook({ condition_function: "c7_1", condition_columns: '{a,"B c"}' })),
    ]);
    const again = new InForce(new Map(JSON.parse(JSON.stringify([...changed]))));
    expect(again.webhooks).toEqual(inForce.webhooks);
    expect(again.webhooks.get(7)?.condition?.columns).toEqual(["a", "B c"]);
  });
});
