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
  ECONNREFUSED: "connect",
  EHOSTUNREACH: "connect",
  ENETUNREACH: "connect",
  EADDRNOTAVAIL: "connect",
  ECONNRESET: "reset",
  EPIPE: "reset",
  UND_ERR_SOCKET: "reset",
  PROXY_FAILED: "proxy",
  BLOCKED_ADDRESS: "blocked_address",
  EPROTO: "tls",
  CERT_HAS_EXPIRED: "tls",
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
  const errorClass = BY_CODE[code] ?? (code.startsWith("ERR_TLS") || code.startsWith("ERR_SSL") ? "tls" : "network");
  return { errorClass, message: cause.message === "" ? code : cause.message };
}

/** An AggregateError (every resolved address failed) counts as its first one. */
function innermost(error: unknown): Error {
  if (error instanceof AggregateError && error.errors[0] instanceof Error) return error.errors[0];
  return error instanceof Error ? error : new Error(String(error));
}
