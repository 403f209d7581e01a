import type { ErrorClass } from "./transport.ts";

const BY_CODE: Readonly<Record<string, ErrorClass>> = {
  DEADLINE: "timeout",
  ETIMEDOUT: "timeout",
  UND_ERR_CONNECT_TIMEOUT: "timeout",
  UND_ERR_HEADERS_TIMEOUT: "timeout",
  UND_ERR_BODY_TIMEOUT: "timeout",
  ENOTFOUND: "dns",
  EAI_AGAIN: "dns",
  EAI_NODATA: "dns",
  EAI_FAIL: "dns",
  ECONNREFUSED: "connect",
  EHOSTUNREACH: "connect",
  ENETUNREACH: "connect",
  EADDRNOTAVAIL: "connect",
  ECONNRESET: "reset",
  EPIPE: "reset",
  UND_ERR_SOCKET: "reset",
  ERR_STREAM_PREMATURE_CLOSE: "reset",
  NO_HTTP: "protocol",
  UND_ERR_HEADERS_OVERFLOW: "protocol",
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: "protocol",
  PROXY_FAILED: "proxy",
  BLOCKED_ADDRESS: "blocked_address",
  EPROTO: "tls",
  CERT_NOT_YET_VALID: "tls",
  CERT_HAS_EXPIRED: "tls",
  CERT_REVOKED: "tls",
  CERT_CHAIN_TOO_LONG: "tls",
  CERT_UNTRUSTED: "tls",
  CERT_REJECTED: "tls",
  CERT_SIGNATURE_FAILURE: "tls",
  INVALID_CA: "tls",
  INVALID_PURPOSE: "tls",
  HOSTNAME_MISMATCH: "tls",
  UNABLE_TO_GET_ISSUER_CERT: "tls",
  DEPTH_ZERO_SELF_SIGNED_CERT: "tls",
  SELF_SIGNED_CERT_IN_CHAIN: "tls",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "tls",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "tls",
  ERR_INVALID_URL: "invalid_request",
  UND_ERR_INVALID_ARG: "invalid_request",
  ERR_INVALID_CHAR: "invalid_request",
};

/** Sorts a failed request by what went wrong, with a message that names host and cause. */
export function classifyFailure(error: unknown): { errorClass: ErrorClass; message: string } {
  const cause = innermost(error);
  const code = "code" in cause && typeof cause.code === "string" ? cause.code : "";
  const errorClass = isNoHttp(cause, code) ? "protocol" : (BY_CODE[code] ?? BY_PREFIX[code.slice(0, 7)] ?? "network");
  return { errorClass, message: cause.message === "" ? code : cause.message };
}

const BY_PREFIX: Readonly<Record<string, ErrorClass>> = { ERR_TLS: "tls", ERR_SSL: "tls" };

/** What a parser cannot read, and what undici calls a socket's error though the connection is well: a stray 100 or 101. */
function isNoHttp({ name, message }: Error, code: string): boolean {
  if (name === "HTTPParserError" || code.startsWith("HPE_")) return true;
  return code === "UND_ERR_SOCKET" && (message === "bad response" || message === "bad upgrade");
}

/** More answers before the answer (1xx) than any receiver needs. */
export const MAX_INFORMATIONAL = 20;

/** The answer is no HTTP as it should be. */
export class NoHttpError extends Error {
  readonly code: string = "NO_HTTP";
}

/** An AggregateError (every resolved address failed) counts as its first one. */
function innermost(error: unknown): Error {
  if (error instanceof AggregateError && error.errors[0] instanceof Error) return error.errors[0];
  return error instanceof Error ? error : new Error(String(error));
}
