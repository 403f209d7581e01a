import type { Secret, Webhook } from "../match/webhook.ts";
import { readReference, type Finding, type SecretSources } from "./secret-reference.ts";
import { formatProblem, signers } from "./sign.ts";
import { decodeKey, type SigningKey } from "./signing-key.ts";

/** The part of a webhook that decides what its requests are signed with. */
export type Signing = Pick<Webhook, "secrets" | "signatureFormats">;

/** What a webhook signs with until a moment. */
interface Current {
  readonly keys: readonly SigningKey[];
  /** Their numbers, as far as they are known. */
  readonly ids: readonly string[];
  /** Why it cannot sign, or null. */
  readonly problem: string | null;
  /** When the next secret expires, in milliseconds since 1970. */
  readonly untilMs: number;
}

type Decoded = { readonly key: SigningKey } | { readonly problem: string };

const UNSIGNED: Current = { keys: [], ids: [], problem: null, untilMs: Infinity };

/**
 * The keys of the webhooks: decoded once, left out from the moment on at which they expire, and those that the
 * configuration only refers to as they were last read.
 */
export class KeyRing {
  readonly #places: SecretSources;
  readonly #findings = new Map<string, Finding>();
  /** A changed webhook is another object, so nothing here is ever out of date but for references. */
  #decoded = new WeakMap<Signing, readonly Decoded[]>();
  #current = new WeakMap<Signing, Current>();

  constructor(places: SecretSources) {
    this.#places = places;
  }

  /** What a webhook's requests are signed with now, oldest first; none where it does not sign, or cannot. */
  keysOf(webhook: Signing, nowMs: number): readonly SigningKey[] {
    return this.#currentOf(webhook, nowMs).keys;
  }

  /** The numbers of the secrets that its signatures are made with, as `walhook.signing_key` has them. */
  idsOf(webhook: Signing, nowMs: number): readonly string[] {
    return this.#currentOf(webhook, nowMs).ids;
  }

  /** Why a webhook cannot sign as it should, so that it must not send; null where it can. */
  problemOf(webhook: Signing, nowMs: number): string | null {
    return this.#currentOf(webhook, nowMs).problem;
  }

  /**
   * Reads the references of these webhooks again; those of others are forgotten. Never rejects.
   * @returns whether any secret has changed
   */
  async refresh(webhooks: Iterable<Signing>): Promise<boolean> {
    const wanted = new Set<string>();
    for (const { secrets } of webhooks) {
      for (const { kind, text } of secrets) if (kind === "reference") wanted.add(text);
    }
    for (const reference of this.#findings.keys()) if (!wanted.has(reference)) this.#findings.delete(reference);
    const findings = await Promise.all(
      [...wanted].map(async (reference) => [reference, await readReference(reference, this.#places)] as const),
    );
    let isChanged = false;
    for (const [reference, finding] of findings) {
      if (isSame(finding, this.#findings.get(reference))) continue;
      this.#findings.set(reference, finding);
      isChanged = true;
    }
    if (isChanged) {
      this.#decoded = new WeakMap();
      this.#current = new WeakMap();
    }
    return isChanged;
  }

  #currentOf(webhook: Signing, nowMs: number): Current {
    if (webhook.secrets.length === 0) return UNSIGNED;
    let current = this.#current.get(webhook);
    if (current === undefined || nowMs >= current.untilMs) {
      current = this.#look(webhook, nowMs);
      this.#current.set(webhook, current);
    }
    return current;
  }

  #look(webhook: Signing, nowMs: number): Current {
    let decoded = this.#decoded.get(webhook);
    if (decoded === undefined) {
      decoded = webhook.secrets.map((secret) => this.#decode(secret));
      this.#decoded.set(webhook, decoded);
    }
    const keys: SigningKey[] = [];
    const ids: (string | null)[] = [];
    let untilMs = Infinity;
    for (const [index, { id, expiresAtMs }] of webhook.secrets.entries()) {
      if (expiresAtMs !== null && expiresAtMs <= nowMs) continue;
      untilMs = Math.min(untilMs, expiresAtMs ?? Infinity);
      const found = decoded[index]!;
      if ("problem" in found) return { keys: [], ids: [], problem: found.problem, untilMs };
      keys.push(found.key);
      ids.push(id);
    }
    if (keys.length === 0) return { keys, ids: [], problem: "every secret of it has expired", untilMs };
    const problem = formatProblem(keys, webhook.signatureFormats);
    if (problem !== null) return { keys: [], ids: [], problem, untilMs };
    const used = signers(keys, webhook.signatureFormats).map((index) => ids[index] ?? null);
    return { keys, ids: used.filter((id) => id !== null), problem, untilMs };
  }

  #decode({ kind, text }: Secret): Decoded {
    try {
      if (kind !== "reference") return { key: decodeKey(text, kind) };
      const finding = this.#findings.get(text);
      if (finding === undefined) return { problem: `its secret ${text} has not been read yet` };
      return "problem" in finding ? finding : { key: decodeKey(finding.text) };
    } catch (error) {
      const where = kind === "reference" ? ` (${text})` : "";
      return {
        problem: `its secret cannot be used${where}: ${error instanceof Error ? error.message : String(error)}`,
      };
    }
  }
}

function isSame(a: Finding, b: Finding | undefined): boolean {
  if (b === undefined) return false;
  if ("text" in a) return "text" in b && a.text === b.text;
  return "problem" in b && a.problem === b.problem;
}
