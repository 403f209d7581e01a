import { Document, Scalar, type YAMLMap } from "yaml";
import { isSame, type StoredWebhook, type Value } from "./stored-webhook.ts";

/** Columns that stand first, whatever their defaults. */
const FIRST = ["webhook_doctype", "webhook_docevent", "request_url"];

const PLACEHOLDER =
  " a placeholder: the secret's text stands in the database, which shows it to nobody; `walhook apply` leaves it alone";

/**
 * Webhooks as a YAML text, in the order that is given. Columns that have their default are left out; header values stand
 * there as they are.
 */
export function writeWebhooks(webhooks: readonly StoredWebhook[], defaults: ReadonlyMap<string, Value>): string {
  const document = new Document({ webhooks: webhooks.map((webhook) => fields(webhook, defaults)) });
  document.commentBefore =
    " Webhooks of Walhook. Names are those of columns of walhook.webhook; what is left out has its default.\n" +
    " walhook apply FILE --dry-run shows what it would change. Secrets stand here by reference only: env:… or file:….";
  for (const [index, webhook] of webhooks.entries()) {
    if (!webhook.secrets.includes(null)) continue;
    const map = document.getIn(["webhooks", index], true) as YAMLMap;
    const node = map.get("webhook_secret", true);
    if (node instanceof Scalar) node.comment = PLACEHOLDER;
  }
  return document.toString({ lineWidth: 0, blockQuote: "literal" });
}

function fields(webhook: StoredWebhook, defaults: ReadonlyMap<string, Value>): Record<string, unknown> {
  const { columns, headers, data, secrets } = webhook;
  const rest = [...defaults].filter(([name, value]) => !FIRST.includes(name) && !isSame(columns[name], value));
  const secret =
    secrets.length === 0 ? undefined : (secrets.find((known) => known !== null) ?? placeholder(webhook.name));
  return {
    name: webhook.name,
    ...Object.fromEntries(FIRST.map((name) => [name, columns[name]])),
    ...Object.fromEntries(rest.map(([name]) => [name, columns[name]])),
    ...(secret === undefined ? {} : { webhook_secret: secret }),
    ...(headers.length === 0 ? {} : { headers: headers.map(([key, value]) => ({ [key]: value })) }),
    ...(data.length === 0 ? {} : { data: data.map(([key, fieldname]) => ({ [key]: fieldname })) }),
  };
}

/** Where the bridge could find a webhook's secret, in a database where there is none yet. */
function placeholder(name: string): string {
  return `env:WALHOOK_SECRET_${name
    .normalize("NFKD")
    .toUpperCase()
    .replaceAll(/[^A-Z0-9]+/g, "_")}`;
}
