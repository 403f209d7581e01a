import { CONNECTION_CAUSES, SQLSTATE_CAUSES, type ErrorCause, type ErrorKind } from "./error-causes.ts";

/** Exit codes of the command line, by what the operator has to do. `walhook --help` shows them. */
export const EXIT_CODES = {
  /** `check` found a problem, or something happened that no rule foresees. */
  problem: 1,
  /** Wrong flags or options: mend the command line or the environment. */
  usage: 2,
  /** The database is not as it must be: mend what the hint names; starting again alone does not help. */
  database: 3,
  /** The database could not be reached or was busy: start again later. */
  retry: 4,
  /** Changes may be missing from the stream: look at it and accept it by `walhook accept-gap`. */
  gap: 5,
  /** Another bridge has taken over: start again, to wait for its place. */
  fenced: 6,
} as const;

/** For a role that may not configure webhooks. */
export const ADMIN_HINT = "GRANT walhook_admin TO <role>;";

/** For a role that may neither install nor take apart. */
export const INSTALLER_HINT = "Run it as the role that installed Walhook, or as a superuser.";

/** For a role that may not install. */
export const INSTALL_HINT =
  "Install as a superuser, or as the database's owner with REPLICATION, and with CREATEROLE to make the roles walhook_*.";

/** An error that says what happened, and in `hint` what to do about it. */
export class WalhookError extends Error {
  /** Stable name of what happened, for programs: `wrong_password`, `slot_lost`, … */
  readonly code: string;
  /** `retry`: the same attempt can succeed later. `fatal`: somebody must act first. */
  readonly kind: ErrorKind;
  /** What to do, as a sentence or a statement to run. */
  readonly hint: string | null;
  readonly exitCode: number;

  constructor(
    message: string,
    details: {
      readonly code: string;
      readonly kind?: ErrorKind;
      readonly hint?: string | null;
      readonly exitCode?: number;
      readonly cause?: unknown;
    },
  ) {
    super(message, details.cause === undefined ? {} : { cause: details.cause });
    this.name = "WalhookError";
    this.code = details.code;
    this.kind = details.kind ?? "fatal";
    this.hint = details.hint ?? null;
    this.exitCode = details.exitCode ?? (this.kind === "retry" ? EXIT_CODES.retry : EXIT_CODES.database);
  }
}

/** What an error means for whoever has to go on. */
export interface Classification {
  readonly kind: ErrorKind;
  readonly code: string;
  /** The error's own words, never empty. */
  readonly message: string;
  readonly hint: string | null;
}

/**
 * Sorts any error into `retry` (the same attempt can succeed later) or `fatal` (somebody must act), by
 * SQLSTATE, by the system's error name, and for the driver's own errors, which have neither, by message.
 * What no rule knows is fatal: it stops visibly instead of looping.
 */
export function classify(error: unknown): Classification {
  if (error instanceof WalhookError) {
    return { kind: error.kind, code: error.code, message: error.message, hint: error.hint };
  }
  const message = messageOf(error);
  const cause = findCause(error, message);
  if (cause === undefined) return { kind: "fatal", code: "unexpected", message, hint: hintOf(error) };
  // The server's own HINT is about the statement at hand; ours is about Walhook, as those of its functions are.
  const hint = isRaised(error) ? (hintOf(error) ?? cause.hint) : (cause.hint ?? hintOf(error));
  return { kind: cause.kind, code: cause.code, message, hint };
}

/**
 * Turns any error into one for the operator.
 * @param where what was being done to what, for example `connecting to postgresql://bridge@db:5432/shop`
 * @param rightHint what to do where the role lacks a right; by default what the bridge's login needs, for what runs as that
 */
export function explain(error: unknown, where: string, rightHint: string | null = null): WalhookError {
  if (error instanceof WalhookError) return error;
  const message = messageOf(error);
  const cause = findCause(error, message);
  const { kind, code, hint } = classify(error);
  return new WalhookError(`${cause?.what ?? "failed"} (${where}): ${message}`, {
    code,
    kind,
    hint: code === "no_right" && !(isRaised(error) && hintOf(error) !== null) ? (rightHint ?? hint) : hint,
    cause: error,
    ...(cause === undefined ? { exitCode: EXIT_CODES.problem } : {}),
  });
}

function findCause(error: unknown, message: string): ErrorCause | undefined {
  const code = stringField(error, "code");
  const known = CONNECTION_CAUSES.find((cause) =>
    cause.match instanceof RegExp ? cause.match.test(message) : code !== undefined && cause.match.includes(code),
  );
  if (known !== undefined) return known;
  if (code === undefined || !/^[0-9A-Z]{5}$/.test(code)) return undefined;
  return SQLSTATE_CAUSES.find(
    (cause) =>
      (code === cause.sqlstate || (cause.sqlstate.length < 5 && code.startsWith(cause.sqlstate))) &&
      (cause.message === undefined || cause.message.test(message)),
  );
}

/** The words of an error; Node reports a refused connection to a name with two addresses as an empty AggregateError. */
function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === "") {
    return error.errors.map(messageOf).join("; ") || "unknown error";
  }
  if (error instanceof Error) return error.message || stringField(error, "code") || error.name;
  return String(error);
}

/** Whether a function of the database has raised it on purpose: its words are for whoever asked. */
export function isRaised(error: unknown): boolean {
  return stringField(error, "routine") === "exec_stmt_raise";
}

function hintOf(error: unknown): string | null {
  return stringField(error, "hint") ?? null;
}

function stringField(error: unknown, name: string): string | undefined {
  if (typeof error !== "object" || error === null) return undefined;
  const value = (error as Record<string, unknown>)[name];
  return typeof value === "string" && value !== "" ? value : undefined;
}
