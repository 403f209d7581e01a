import { whoseFailure } from "../db/whose-failure.ts";

/** What an error of a backfill means: the session's matter, to try again, or somebody has to act first. */
export type BackfillFailure =
  | { readonly kind: "session" }
  | { readonly kind: "again"; readonly reason: string }
  | { readonly kind: "failed"; readonly reason: string };

/** It cannot go on as it was asked for; the message says what to do. */
export class BackfillStopped extends Error {
  override readonly name = "BackfillStopped";
}

/** @param error as the driver gives it, with the hint that the server has */
export function backfillFailure(error: unknown): BackfillFailure {
  if (error instanceof BackfillStopped) return { kind: "failed", reason: error.message };
  const { code, message, hint } = error as { code?: string; message: string; hint?: string };
  switch (whoseFailure(error)) {
    case "session":
      return { kind: "session" };
    case "moment":
      return { kind: "again", reason: message };
    case "work":
      if (code !== "57014") return { kind: "failed", reason: hint === undefined ? message : `${message}. ${hint}` };
      return {
        kind: "failed",
        reason: `${message}: its condition took longer than 60 s for one row, or somebody has cancelled the reading`,
      };
  }
}
