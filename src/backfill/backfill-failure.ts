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

/** It cannot go on at this moment. */
export class BackfillDelayed extends Error {
  override readonly name = "BackfillDelayed";
}

/** Reading rows failed, with what the server said as its cause, and the connection is as it was: so it is no matter of the session's. */
export class ReadingFailed extends Error {
  override readonly name = "ReadingFailed";
}

/** @param error as the driver gives it, with the hint that the server has */
export function backfillFailure(error: unknown): BackfillFailure {
  if (error instanceof BackfillStopped) return { kind: "failed", reason: error.message };
  if (error instanceof BackfillDelayed) return { kind: "again", reason: error.message };
  if (error instanceof ReadingFailed) {
    // Whatever code it has: a condition may raise any.
    return whoseFailure(error.cause) === "moment"
      ? { kind: "again", reason: error.message }
      : { kind: "failed", reason: wordsOf(error.cause) };
  }
  switch (whoseFailure(error)) {
    case "session":
      return { kind: "session" };
    case "moment":
      return { kind: "again", reason: (error as Error).message };
    case "work":
      return { kind: "failed", reason: wordsOf(error) };
  }
}

function wordsOf(error: unknown): string {
  const { code, message, hint } = error as { code?: string; message: string; hint?: string };
  if (code === "57014") {
    return `${message}: its condition took longer than 60 s for one row, or somebody has cancelled the reading`;
  }
  return hint === undefined ? message : `${message}. ${hint}`;
}
