/** What an error of a replay's step means: the session's matter, to try again, or the replay's own, which ends it. */
export type ReplayFailure =
  | { readonly kind: "session" }
  | { readonly kind: "again" }
  | { readonly kind: "failed"; readonly reason: string };

/** Somebody has a lock, or the server no room, for now. https://www.postgresql.org/docs/current/errcodes-appendix.html */
const PASSES = /^(40|53|55P03)/;
/** The server goes away, or the connection. */
const IS_SESSION = /^(57P|08|25006)/;

/** @param error of the driver, or of our own reading of a log row */
export function replayFailure(error: unknown): ReplayFailure {
  const { code, message } = error as { readonly code?: string; readonly message: string };
  const isOwn = error instanceof RangeError || error instanceof TypeError || error instanceof SyntaxError;
  if (isOwn) return { kind: "failed", reason: message };
  if (code === undefined || !/^[0-9A-Z]{5}$/.test(code) || IS_SESSION.test(code)) return { kind: "session" };
  return PASSES.test(code) ? { kind: "again" } : { kind: "failed", reason: message };
}
