import type { WebhookDefinition } from "../db/schema.ts";
import type { ConfigurationChange } from "../decode/chunk.ts";
import type { DocEventName } from "../events/doc-event.ts";
import { applyRow } from "./apply-row.ts";
import { toRepair, type Repair } from "./repair.ts";
import { toWebhook } from "./to-webhook.ts";
import type { Webhook } from "./webhook.ts";

/** What a configuration transaction did to the set: definitions to store anew, and webhooks that are gone. */
export interface InForceChange {
  readonly inForce: InForce;
  readonly changed: ReadonlyMap<number, WebhookDefinition>;
  readonly removed: readonly number[];
  readonly repairs: readonly Repair[];
}

/**
 * The webhooks in force at one place of the stream. Immutable: `apply` makes the set that is in force
 * after a configuration transaction, so deliveries under way keep the set they were matched with.
 */
export class InForce {
  readonly webhooks: ReadonlyMap<number, Webhook>;
  readonly #definitions: ReadonlyMap<number, WebhookDefinition>;
  /** Enabled webhooks by DocType and doc event, so that an event costs nothing for webhooks on others. */
  readonly #enabled: ReadonlyMap<number, ReadonlyMap<DocEventName, readonly Webhook[]>>;
  /** Those that want to know of every change of their table, also while they are disabled, by DocType; undefined: there are none. */
  readonly onlookers: ReadonlyMap<number, readonly Webhook[]> | undefined;

  constructor(definitions: ReadonlyMap<number, WebhookDefinition>, known?: ReadonlyMap<number, Webhook>) {
    this.#definitions = definitions;
    const webhooks = new Map<number, Webhook>();
    for (const [id, definition] of definitions) webhooks.set(id, known?.get(id) ?? toWebhook(definition));
    this.webhooks = webhooks;
    this.#enabled = indexEnabled(webhooks.values());
    this.onlookers = indexOnlookers(webhooks.values());
  }

  /** The enabled webhooks on a table, by doc event; undefined where there is none. */
  onTable(oid: number): ReadonlyMap<DocEventName, readonly Webhook[]> | undefined {
    return this.#enabled.get(oid);
  }

  /** The set after a configuration transaction whose rows are `changes`, in their order. */
  apply(changes: readonly ConfigurationChange[]): InForceChange {
    const definitions = new Map(this.#definitions);
    const touched = new Set<number>();
    const repairs: Repair[] = [];
    for (const change of changes) {
      if (change.table === "repair") {
        const repair = change.kind === "insert" ? toRepair(change.row) : null;
        if (repair !== null) repairs.push(repair);
        continue;
      }
      if (change.table === "backfill_request" || change.table === "backfill_watermark") continue;
      for (const id of applyRow(definitions, change.table, change)) touched.add(id);
    }
    if (touched.size === 0) return { inForce: this, changed: new Map(), removed: [], repairs };
    const known = new Map([...this.webhooks].filter(([id]) => !touched.has(id)));
    const changed = new Map<number, WebhookDefinition>();
    const removed: number[] = [];
    for (const id of touched) {
      const definition = definitions.get(id);
      if (definition === undefined || Object.keys(definition.webhook).length === 0) {
        definitions.delete(id);
        removed.push(id);
      } else changed.set(id, definition);
    }
    return { inForce: new InForce(definitions, known), changed, removed, repairs };
  }
}

function indexEnabled(webhooks: Iterable<Webhook>): Map<number, Map<DocEventName, Webhook[]>> {
  const index = new Map<number, Map<DocEventName, Webhook[]>>();
  for (const webhook of webhooks) {
    if (!webhook.enabled) continue;
    const byEvent = index.get(webhook.doctypeOid) ?? new Map<DocEventName, Webhook[]>();
    index.set(webhook.doctypeOid, byEvent);
    for (const event of webhook.events) byEvent.set(event, [...(byEvent.get(event) ?? []), webhook]);
  }
  return index;
}

function indexOnlookers(webhooks: Iterable<Webhook>): Map<number, Webhook[]> | undefined {
  const index = new Map<number, Webhook[]>();
  for (const webhook of webhooks) {
    if (!webhook.logsDecisions) continue;
    const others = index.get(webhook.doctypeOid);
    if (others === undefined) index.set(webhook.doctypeOid, [webhook]);
    else others.push(webhook);
  }
  return index.size === 0 ? undefined : index;
}
