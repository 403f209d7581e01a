/**
 * Whose a failed step of some work in the database is: the session's (the connection, or the server, is gone), nobody's for long
 * (a lock, or a lack of room: the same step can succeed later), or the work's own: whoever tries it again meets it again.
 */
export type FailureOwner = "session" | "moment" | "work";

/** https://www.postgresql.org/docs/current/errcodes-appendix.html */
const OF_MOMENT = /^(40|53|55P03)/;
const OF_SESSION = /^(57P|08|25006)/;

/** @param error of the driver (with an SQLSTATE, or with the system's name of what broke), or of our own reading of what it brought */
export function whoseFailure(error: unknown): FailureOwner {
  if (error instanceof RangeError || error instanceof TypeError || error instanceof SyntaxError) return "work";
  const { code } = error as { readonly code?: string };
  // EPIPE has the form of an SQLSTATE.
  if (code === undefined || code === "EPIPE" || !/^[0-9A-Z]{5}$/.test(code) || OF_SESSION.test(code)) return "session";
  return OF_MOMENT.test(code) ? "moment" : "work";
}
