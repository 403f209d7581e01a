import type { Webhook } from "../match/webhook.ts";

/** Stands for every host that a webhook's rows decide. */
export const DYNAMIC_HOST = "(dynamic)";

const MAX_CHARACTERS = 255;

/**
 * Host and port under which an attempt is counted, in lower case. Figures are for who may read no row: a host that a template has made
 * of a row is counted as `(dynamic)`. Only one that stands in the configuration, before the path begins, is shown.
 *
 * @param url where the request goes
 * @param frozenUrl what was rendered for the event; null: the URL is the webhook's own
 */
export function countedHost(webhook: Webhook, url: string, frozenUrl: string | null): string {
  const host = hostOf(url);
  return frozenUrl === null || host === configuredHost(webhook) ? host : DYNAMIC_HOST;
}

const configured = new WeakMap<Webhook, string | null>();

/** Null where a template decides it, or nobody can read it. */
function configuredHost(webhook: Webhook): string | null {
  let host = configured.get(webhook);
  if (host === undefined) {
    const [start = "{{"] = /^\s*https?:\/\/[^/?#]+/i.exec(webhook.requestUrl) ?? [];
    host = start.includes("{{") || !URL.canParse(start) ? null : hostOf(new URL(start).href);
    configured.set(webhook, host);
  }
  return host;
}

function hostOf(url: string): string {
  const [, host = ""] = /^[a-z]+:\/\/(?:[^/?#]*@)?([^/?#]+)/i.exec(url) ?? [];
  return host.toLowerCase().slice(0, MAX_CHARACTERS);
}
