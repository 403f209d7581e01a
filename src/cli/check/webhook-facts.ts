import type pg from "pg";
import type { Route, Secret, SignatureFormat } from "../../match/webhook.ts";

/** Where an enabled webhook's requests go, by which way, and what they are signed with. */
export interface WebhookFacts {
  readonly name: string;
  readonly requestUrl: string;
  readonly isDynamicUrl: boolean;
  readonly route: Route;
  /** None where `enable_security` is off. Never to be shown. */
  readonly secrets: readonly Secret[];
  readonly signatureFormats: readonly SignatureFormat[];
  /** Why its receiver may not be sent to yet, as the bridge has found; null: it has consented, or need not. */
  readonly missingConsent: string | null;
}

const WEBHOOK_FACTS = `
  select
    webhook.name,
    webhook.request_url as "requestUrl",
    webhook.is_dynamic_url as "isDynamicUrl",
    jsonb_build_object(
      'proxy', webhook.proxy,
      'tlsProfile', webhook.tls_profile,
      'tlsMinVersion', case webhook.tls_min_version when '1.3' then 'TLSv1.3' else 'TLSv1.2' end
    ) as route,
    coalesce(secrets.list, '[]'::jsonb) as secrets,
    webhook.signature_formats as "signatureFormats",
    case when webhook.handshake and state.state = 'held' then state.last_error end as "missingConsent"
  from walhook.webhook
  left join walhook.webhook_state as state on state.webhook_id = webhook.id
  left join lateral (
    select jsonb_agg(jsonb_build_object(
      'id', secret.id::text, 'text', secret.secret, 'kind', secret.kind, 'expiresAtMs', secret.expires_at_ms
    ) order by secret.id) as list
    from walhook.webhook_secret as secret
    where secret.webhook_id = webhook.id and webhook.enable_security
  ) as secrets on true
  where webhook.enabled
  order by webhook.name`;

/** Every enabled webhook, by name. Holds secrets. */
export async function readWebhookFacts(client: pg.Client): Promise<readonly WebhookFacts[]> {
  const { rows } = await client.query<WebhookFacts>(WEBHOOK_FACTS);
  return rows;
}
