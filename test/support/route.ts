import type { Route } from "../../src/match/webhook.ts";

/** What a webhook has that says nothing about its route. */
export const PLAIN_ROUTE: Route = { proxy: null, tlsProfile: null, tlsMinVersion: "TLSv1.2" };
