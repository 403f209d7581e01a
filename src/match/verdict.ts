import type { Verdict } from "./question.ts";

const TRUE: Verdict = { kind: "true" };
const FALSE: Verdict = { kind: "false" };
const NULL: Verdict = { kind: "null" };
export const TIMEOUT: Verdict = { kind: "timeout" };

/** TRUE alone fires. */
export function ofBoolean(answer: boolean | null): Verdict {
  if (answer === null) return NULL;
  return answer ? TRUE : FALSE;
}

/** Reads an answer of `walhook.ask_rows`: `t`, `f`, `n` for NULL, or `error: <SQLSTATE> <message>`. */
export function ofText(answer: string | undefined): Verdict {
  if (answer === "t") return TRUE;
  if (answer === "f") return FALSE;
  if (answer === "n") return NULL;
  const [, sqlState = "", message = ""] = /^error: (\S{5}) ([\s\S]*)$/.exec(answer ?? "") ?? [];
  return ofError(sqlState, message);
}

/**
 * Sorts an error by its SQLSTATE: what no other row would answer either, or what may pass, is no verdict on the
 * row. https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
export function ofError(sqlState: string, message: string): Verdict {
  if (isBroken(sqlState)) {
    return {
      kind: "undecided",
      message: `the condition does not work any more: ${brief(message)} (${sqlState}); mend it, or save it again: ${MEND}`,
    };
  }
  // 57P is what a server says that ends the connection. Whoever can still read it has been told so by the expression.
  if (/^(40|53|55|57(?!P)|58|F0|XX)/.test(sqlState)) {
    return { kind: "undecided", message: `the condition could not be asked: ${brief(message)} (${sqlState})` };
  }
  return { kind: "error", message: `the condition raised an error: ${brief(message)} (${sqlState})` };
}

/** The connection ended while the condition was asked, twice. */
export function ofLoss(message: string): Verdict {
  return {
    kind: "undecided",
    message: `the condition ends the connection on which it is asked: ${brief(message)}; mend it, for example by leaving settings like transaction_timeout alone`,
  };
}

const MAX_MESSAGE_CHARACTERS = 2000;

/** Postgres quotes the value that it could not read, and a function raises what it likes: however long it is. */
function brief(message: string): string {
  return message.length > MAX_MESSAGE_CHARACTERS ? `${message.slice(0, MAX_MESSAGE_CHARACTERS)} …` : message;
}

/** Where the columns have changed since, an error may be the old types' fault. */
export function ofStale(message: string): Verdict {
  return {
    kind: "undecided",
    message: `the table's columns have changed since the condition was saved (${brief(message)}); save it again: ${MEND}`,
  };
}

/** The expression cannot be run at all: names that are gone, types that changed, rights that were lost. */
export function isBroken(sqlState: string): boolean {
  return /^(42|3F|0A)/.test(sqlState);
}

const MEND = "update walhook.webhook set revision = revision + 1 where name = …";
