import type pg from "pg";
import { ConditionSession, type Reply } from "./condition-session.ts";

/** One webhook's condition, asked about some rows: composite literals of `condition_columns`, an element a row. */
export interface Question {
  readonly webhookId: number;
  readonly functionName: string;
  readonly doc: readonly (string | null)[];
  readonly old: readonly (string | null)[];
  readonly event: readonly string[];
}

/** What is known of one row. */
export type Verdict =
  | { readonly kind: "true" }
  /** FALSE or NULL. */
  | { readonly kind: "false" }
  /** The expression raised an error for this row. */
  | { readonly kind: "error"; readonly message: string }
  | { readonly kind: "timeout" }
  /** The expression does not work at all any more (a column was dropped, a right was lost): until it is mended. */
  | { readonly kind: "undecided"; readonly message: string };

const TRUE: Verdict = { kind: "true" };
const FALSE: Verdict = { kind: "false" };
const TIMEOUT: Verdict = { kind: "timeout" };

/** After so many timeouts in a row a webhook is no longer asked together with others. */
const SUSPEND_AFTER = 3;
/** The share of the timeout that the statement for all webhooks may take; the rest is for asking one by one. */
const TOGETHER = 0.4;
const AT_ONCE = 8;

/**
 * Asks conditions of Postgres, all webhooks in one statement. One bad row harms only itself, and one slow
 * condition delays the others by at most one timeout: then each webhook is asked on its own, side by side.
 */
export class Conditions {
  readonly #connection: pg.ClientConfig;
  readonly #timeoutMs: number;
  readonly #timeouts = new Map<number, number>();
  /** Idle sessions: usually one for live questions and one for parked ones. */
  readonly #idle: ConditionSession[] = [];
  #isClosed = false;

  constructor(options: { readonly connection: pg.ClientConfig; readonly timeoutMs?: number }) {
    this.#connection = options.connection;
    this.#timeoutMs = options.timeoutMs ?? 250;
  }

  /** A verdict for each row of each question, in order. Rejects when the database cannot be reached. */
  async ask(questions: readonly Question[]): Promise<readonly (readonly Verdict[])[]> {
    const asked = questions.filter(({ webhookId }) => !this.isSuspended(webhookId));
    const verdicts = new Map<Question, readonly Verdict[]>();
    if (asked.length > 0) {
      const reply = await this.#run<boolean>(
        "ask",
        asked,
        asked.length === 1 ? this.#timeoutMs : this.#timeoutMs * TOGETHER,
      );
      if (reply.kind === "answers") {
        asked.forEach((question, q) => verdicts.set(question, this.#understand(question, reply.answers[q] ?? [])));
      } else if (asked.length === 1) {
        verdicts.set(asked[0]!, await this.#explain(asked[0]!, reply));
      } else {
        for (let from = 0; from < asked.length; from += AT_ONCE) {
          const group = asked.slice(from, from + AT_ONCE);
          const answers = await Promise.all(
            group.map((question) => this.#askAlone(question, this.#timeoutMs * (1 - TOGETHER))),
          );
          group.forEach((question, q) => verdicts.set(question, answers[q]!));
        }
      }
    }
    return questions.map((question) => verdicts.get(question) ?? question.event.map(() => TIMEOUT));
  }

  /** One row of an undecided delivery, on a connection of its own; an answer in time ends the webhook's suspension. */
  async askParked(question: Question): Promise<Verdict> {
    const [verdict] = await this.#askAlone(question, this.#timeoutMs);
    return verdict ?? TIMEOUT;
  }

  /** Whether live batches no longer ask it, because it timed out several times in a row. */
  isSuspended(webhookId: number): boolean {
    return (this.#timeouts.get(webhookId) ?? 0) >= SUSPEND_AFTER;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all(this.#idle.splice(0).map((session) => session.close()));
  }

  async #askAlone(question: Question, withinMs: number): Promise<readonly Verdict[]> {
    const reply = await this.#run<boolean>("ask", [question], withinMs);
    return reply.kind === "answers"
      ? this.#understand(question, reply.answers[0] ?? [])
      : this.#explain(question, reply);
  }

  #understand({ webhookId, event }: Question, answers: readonly boolean[]): readonly Verdict[] {
    this.#timeouts.delete(webhookId);
    return event.map((_, row) => (answers[row] === true ? TRUE : FALSE));
  }

  /** The batch gave no answers: row by row it shows which one is to blame. */
  async #explain(
    question: Question,
    failure: Exclude<Reply<unknown>, { kind: "answers" }>,
  ): Promise<readonly Verdict[]> {
    const { webhookId, event } = question;
    const all = (verdict: Verdict): readonly Verdict[] => event.map(() => verdict);
    if (failure.kind === "timeout") {
      this.#timeouts.set(webhookId, (this.#timeouts.get(webhookId) ?? 0) + 1);
      return all(TIMEOUT);
    }
    if (isBroken(failure.sqlState)) return all({ kind: "undecided", message: brokenMessage(failure.message) });
    const reply = await this.#run<string>("ask_rows", [question], this.#timeoutMs);
    if (reply.kind === "timeout") return this.#explain(question, reply);
    if (reply.kind === "error") return all({ kind: "undecided", message: brokenMessage(reply.message) });
    this.#timeouts.delete(webhookId);
    return event.map((_, row) => toVerdict(reply.answers[0]?.[row]));
  }

  async #run<T>(
    asker: "ask" | "ask_rows",
    questions: readonly Question[],
    withinMs: number,
  ): Promise<Reply<readonly T[]>> {
    const session = this.#idle.pop() ?? (await ConditionSession.open(this.#connection));
    const reply = await session.ask<T>(asker, questions, withinMs);
    if (reply.kind === "timeout") return reply;
    if (this.#isClosed) await session.close();
    else this.#idle.push(session);
    return reply;
  }
}

/** The expression cannot be run at all: names that are gone, types that changed, rights that were lost. */
function isBroken(sqlState: string): boolean {
  return sqlState.startsWith("42") || sqlState.startsWith("0A") || sqlState.startsWith("3F");
}

function brokenMessage(message: string): string {
  return `the condition does not work any more: ${message}; mend it with an UPDATE of walhook.webhook`;
}

function toVerdict(answer: string | undefined): Verdict {
  if (answer === "t") return TRUE;
  if (answer === "f") return FALSE;
  const [, sqlState = "", message = ""] = /^error: (\S{5}) ([\s\S]*)$/.exec(answer ?? "") ?? [];
  if (isBroken(sqlState)) return { kind: "undecided", message: brokenMessage(message) };
  return { kind: "error", message: `the condition raised an error: ${message} (${sqlState})` };
}
