import type { Route } from "../match/webhook.ts";

/** An HTTP request, ready to go on the wire. */
export interface TransportRequest {
  readonly url: string;
  readonly method: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Buffer;
  /** One deadline over everything: name, connection, TLS, headers and body of the answer. */
  readonly timeoutMs: number;
  /** Through which proxy, and with which certificates. */
  readonly route: Route;
}

/** Why no answer came. */
export type ErrorClass =
  | "dns"
  | "connect"
  | "tls"
  | "timeout"
  | "reset"
  | "proxy"
  | "blocked_address"
  | "invalid_request"
  | "network";

export type TransportResult =
  | {
      readonly kind: "response";
      readonly statusCode: number;
      readonly headers: Readonly<Record<string, string>>;
      /** The first `MAX_RESPONSE_BYTES` of the body as text; the rest is not read. */
      readonly body: string;
      readonly durationMs: number;
    }
  | {
      readonly kind: "failure";
      readonly errorClass: ErrorClass;
      readonly message: string;
      readonly durationMs: number;
    };

/** How much of an answer is kept. */
export const MAX_RESPONSE_BYTES: number = 16 * 1024;

/** Sends one request. Never rejects: a failure is a result. Never follows a redirect. */
export interface Transport {
  send(request: TransportRequest): Promise<TransportResult>;
  /** Ends open connections. */
  close(): Promise<void>;
}
