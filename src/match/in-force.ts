import { parse as parseArray } from "postgres-array";
import type { ColumnTexts, WebhookDefinition } from "../db/schema.ts";
import type { ConfigurationChange } from "../decode/chunk.ts";
import type { ConfigurationTable } from "../decode/configuration-tables.ts";
import type { DocEventName } from "../events/doc-event.ts";
import { toRepair, type Repair } from "./repair.ts";
import type {
  Condition,
  PayloadFormat,
  RequestMethod,
  RequestStructure,
  Secret,
  SignatureFormat,
  Webhook,
} from "./webhook.ts";

/** One webhook's configuration rows, as Postgres' text: what `walhook.webhook_in_force` stores. */
export type Definition = WebhookDefinition;

/** What a configuration transaction did to the set: definitions to store anew, and webhooks that are gone. */
export interface InForceChange {
  readonly inForce: InForce;
  readonly changed: ReadonlyMap<number, Definition>;
  readonly removed: readonly number[];
  readonly repairs: readonly Repair[];
}

/**
 * The webhooks in force at one place of the stream. Immutable: `apply` makes the set that is in force
 * after a configuration transaction, so deliveries under way keep the set they were matched with.
 */
export class InForce {
  readonly webhooks: ReadonlyMap<number, Webhook>;
  readonly #definitions: ReadonlyMap<number, Definition>;
  /** Enabled webhooks by DocType and doc event, so that an event costs nothing for webhooks on others. */
  readonly #enabled: ReadonlyMap<number, ReadonlyMap<DocEventName, readonly Webhook[]>>;
  /** Those that want to know of every change of their table, also while they are disabled, by DocType; undefined: there are none. */
  readonly onlookers: ReadonlyMap<number, readonly Webhook[]> | undefined;

  constructor(definitions: ReadonlyMap<number, Definition>, known?: ReadonlyMap<number, Webhook>) {
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
    const changed = new Map<number, Definition>();
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

const NOTHING: Definition = { webhook: {}, headers: [], data: [] };

/** Applies one changed row; returns the numbers of the webhooks it touches. */
function applyRow(
  definitions: Map<number, Definition>,
  table: Exclude<ConfigurationTable, "repair" | "backfill_request" | "backfill_watermark">,
  change: ConfigurationChange,
): readonly number[] {
  const { kind, row } = change;
  const id = Number(table === "webhook" ? row["id"] : row["webhook_id"]);
  const before = definitions.get(id) ?? NOTHING;
  switch (table) {
    case "webhook":
      if (kind === "delete") definitions.delete(id);
      else definitions.set(id, { ...before, webhook: row });
      return [id];
    case "webhook_secret":
      // WAL of an earlier version, when a webhook had one secret; the upgrade then gave that one its number.
      if (row["id"] == null) {
        definitions.set(id, { ...before, secret: kind === "delete" ? null : (row["secret"] ?? null) });
        return [id];
      }
      if (before.secret != null) definitions.set(id, { ...before, secret: null });
      return applyChildRow(definitions, "secrets", change, id);
    case "webhook_header":
      return applyChildRow(definitions, "headers", change, id);
    case "webhook_data":
      return applyChildRow(definitions, "data", change, id);
    case "paused":
      definitions.set(id, { ...before, isPaused: kind !== "delete" });
      return [id];
    default:
      return table satisfies never;
  }
}

function applyChildRow(
  definitions: Map<number, Definition>,
  list: "headers" | "data" | "secrets",
  { kind, row }: ConfigurationChange,
  id: number,
): readonly number[] {
  const isRow = (child: ColumnTexts): boolean => child["id"] === row["id"];
  const touched = new Set([id]);
  // An UPDATE can move a row to another webhook, so it is taken out wherever it was.
  for (const [owner, definition] of kind === "update" ? definitions : [[id, definitions.get(id) ?? NOTHING] as const]) {
    const children = definition[list] ?? [];
    if (!children.some(isRow)) continue;
    definitions.set(owner, { ...definition, [list]: children.filter((child) => !isRow(child)) });
    touched.add(owner);
  }
  if (kind === "delete") return [id];
  const current = definitions.get(id) ?? NOTHING;
  const children = [...(current[list] ?? []), row].toSorted((a, b) => Number(a["id"]) - Number(b["id"]));
  definitions.set(id, { ...current, [list]: children });
  return [...touched];
}

function toWebhook(definition: Definition): Webhook {
  const { webhook: row, headers, data } = definition;
  return {
    id: Number(row["id"]),
    name: row["name"] ?? "",
    doctypeOid: Number(row["doctype_oid"]),
    events: (row["webhook_docevent"] ?? "").split(",").map((event) => event.trim() as DocEventName),
    enabled: row["enabled"] === "t",
    isPaused: definition.isPaused === true,
    condition: toCondition(row),
    requestUrl: row["request_url"] ?? "",
    isDynamicUrl: row["is_dynamic_url"] === "t",
    method: (row["request_method"] ?? "POST") as RequestMethod,
    structure: (row["request_structure"] ?? "JSON") as RequestStructure,
    // Columns of later versions are missing where the definition was stored by an earlier one.
    payloadFormat: (row["payload_format"] ?? "plain") as PayloadFormat,
    cloudeventsSource: row["cloudevents_source"] ?? "",
    handshakeOrigin: row["handshake"] === "t" ? (row["handshake_origin"] ?? "walhook") : null,
    template: row["webhook_json"] ?? null,
    data: data.map((child) => ({ fieldname: child["fieldname"] ?? "", key: child["key"] ?? child["fieldname"] ?? "" })),
    headers: headers
      .filter((child) => (child["key"] ?? "") !== "" && (child["value"] ?? "") !== "")
      .map((child) => ({ key: child["key"] ?? "", value: child["value"] ?? "" })),
    timeoutMs: Number(row["timeout_ms"] ?? 5000),
    retryScheduleMs: row["retry_schedule_ms"] == null ? null : parseArray(row["retry_schedule_ms"], Number),
    isOrdered: row["ordering"] !== "f",
    onExhausted: row["on_exhausted"] === "hold" ? "hold" : "continue",
    batchSize: Number(row["batch_size"] ?? 1),
    batchWindowMs: Number(row["batch_window_ms"] ?? 0),
    rateLimit: row["rate_limit"] == null ? null : Number(row["rate_limit"]),
    disableAfterMs: toDisableAfterMs(row["disable_after_ms"]),
    route: {
      proxy: row["proxy"] ?? null,
      tlsProfile: row["tls_profile"] ?? null,
      tlsMinVersion: row["tls_min_version"] === "1.3" ? "TLSv1.3" : "TLSv1.2",
    },
    kept: { requestBytes: toNumber(row["log_request_bytes"]), responseBytes: toNumber(row["log_response_bytes"]) },
    logsDecisions: row["log_decisions"] === "t",
    secrets: row["enable_security"] === "t" ? toSecrets(definition) : [],
    signatureFormats: parseArray(row["signature_formats"] ?? "{standard,frappe}") as SignatureFormat[],
  };
}

/** Five days where the definition was stored by a version that knew no other. */
function toDisableAfterMs(text: string | null | undefined): number | null {
  if (text === null) return null;
  return text === undefined ? 432_000_000 : Number(text);
}

function toSecrets({ secrets = [], secret }: Definition): Secret[] {
  if (secret != null) return [{ text: secret, kind: "symmetric", expiresAtMs: null, id: null }];
  return secrets.map((child) => ({
    text: child["secret"] ?? "",
    kind: (child["kind"] ?? "symmetric") as Secret["kind"],
    expiresAtMs: child["expires_at_ms"] == null ? null : Number(child["expires_at_ms"]),
    id: child["id"] ?? null,
  }));
}

function toNumber(text: string | null | undefined): number | null {
  return text == null ? null : Number(text);
}

function toCondition(row: ColumnTexts): Condition | null {
  const functionName = row["condition_function"] ?? null;
  if (functionName === null) return null;
  return {
    functionName,
    columns: parseArray(row["condition_columns"] ?? "{}"),
    usesOld: row["condition_uses_old"] === "t",
    tellsNull: row["condition_tells_null"] === "t",
  };
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
