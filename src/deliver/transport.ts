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
  | "protocol"
  | "proxy"
  | "blocked_address"
  | "invalid_request"
  | "network";

/** What is known of the way that a request went. Durations in milliseconds. */
export interface Trip {
  /** The steps of making its connection; null where a step was not needed, or the connection was there before. */
  readonly dnsMs: number | null;
  readonly connectMs: number | null;
  readonly tlsMs: number | null;
  /** From the start to the status and headers of the answer; null: none came. */
  readonly firstByteMs: number | null;
  /** Where the connection led: to the receiver, or to the proxy before it. */
  readonly remoteAddress: string | null;
}

export type TransportResult =
  | {
      readonly kind: "response";
      readonly statusCode: number;
      readonly headers: Readonly<Record<string, string>>;
      /** The first `MAX_RESPONSE_BYTES` of the body as text; the rest is not read. */
      readonly body: string;
      readonly durationMs: number;
      readonly trip?: Trip | undefined;
    }
  | {
      readonly kind: "failure";
      readonly errorClass: ErrorClass;
      readonly message: string;
      readonly durationMs: number;
      readonly trip?: Trip | undefined;
    };

/** How much of an answer is kept. */
export const MAX_RESPONSE_BYTES: number = 16 * 1024;

/** Sends one request. Never rejects: a failure is a result. Never follows a redirect. */
export interface Transport {
  send(request: TransportRequest): Promise<TransportResult>;
  /** Ends open connections. */
  close(): Promise<void>;
}
