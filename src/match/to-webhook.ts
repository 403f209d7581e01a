import { parse as parseArray } from "postgres-array";
import type { ColumnTexts, WebhookDefinition } from "../db/schema.ts";
import type { DocEventName } from "../events/doc-event.ts";
import type {
  Condition,
  PayloadFormat,
  RequestMethod,
  RequestStructure,
  Secret,
  SignatureFormat,
  Webhook,
} from "./webhook.ts";

/** Reads a webhook's configuration rows. Columns that a later version added have their defaults where an earlier one stored them. */
export function toWebhook(definition: WebhookDefinition): Webhook {
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

function toSecrets({ secrets = [], secret }: WebhookDefinition): Secret[] {
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
