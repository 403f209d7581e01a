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
      message: `the condition does not work any more: ${message} (${sqlState}); mend it, or save it again: ${MEND}`,
    };
  }
  if (/^(40|53|55|57|58|F0|XX)/.test(sqlState)) {
    return { kind: "undecided", message: `the condition could not be asked: ${message} (${sqlState})` };
  }
  return { kind: "error", message: `the condition raised an error: ${message} (${sqlState})` };
}

/** Where the columns have changed since, an error may be the old types' fault. */
export function ofStale(message: string): Verdict {
  return {
    kind: "undecided",
    message: `the table's columns have changed since the condition was saved (${message}); save it again: ${MEND}`,
  };
}

/** The expression cannot be run at all: names that are gone, types that changed, rights that were lost. */
export function isBroken(sqlState: string): boolean {
  return /^(42|3F|0A)/.test(sqlState);
}

const MEND = "update walhook.webhook set revision = revision + 1 where name = …";
