/** What an error of a backfill means: the session's matter, to try again, or somebody has to act first. */
export type BackfillFailure =
  | { readonly kind: "session" }
  | { readonly kind: "again"; readonly reason: string }
  | { readonly kind: "failed"; readonly reason: string };

/** Somebody has a lock, or the server no room, for now. */
const PASSES = /^(40|53|55P03)/;
/** The server goes away, or the connection. */
const IS_SESSION = /^(57P|08|25006)/;

/** It cannot go on as it was asked for; the message says what to do. */
export class BackfillStopped extends Error {
  override readonly name = "BackfillStopped";
}

/** @param error as the driver gives it, with the hint that the server has */
export function backfillFailure(error: unknown): BackfillFailure {
  if (error instanceof BackfillStopped) return { kind: "failed", reason: error.message };
  const { code, message, hint } = error as { code?: string; message: string; hint?: string };
  if (code === undefined || !/^[0-9A-Z]{5}$/.test(code) || IS_SESSION.test(code)) return { kind: "session" };
  if (PASSES.test(code)) return { kind: "again", reason: message };
  if (code !== "57014") return { kind: "failed", reason: hint === undefined ? message : `${message}. ${hint}` };
  const reason = `${message}: its condition took longer than 60 s for one row, or somebody has cancelled the reading`;
  return { kind: "failed", reason };
}
