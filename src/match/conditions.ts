import type pg from "pg";
import { ConditionSession, type Reply } from "./condition-session.ts";
import type { Question, Verdict } from "./question.ts";
import { isBroken, ofBoolean, ofError, ofLoss, ofStale, ofText, TIMEOUT } from "./verdict.ts";

/** After so many questions in a row without an answer in time a condition is no longer asked with live batches. */
const SUSPEND_AFTER = 3;
/** The share of the timeout that the statement for all may take; the rest is for asking one by one. */
const TOGETHER_SHARE = 0.4;
/** The share that a condition gets which did not answer, or failed, the last time. */
const SUSPECTS_SHARE = 0.2;
/** How many are asked side by side, each on a connection of its own, when the statement for all failed. */
const MAX_CONCURRENT = 8;
/** Kept open between questions: one for live ones, one for parked ones. */
const MAX_IDLE_SESSIONS = 2;
/** A SELECT list has at most 1,664 columns, and one bad row makes its whole statement be asked again. */
const MAX_QUESTIONS_PER_STATEMENT = 200;
/** Rows of all questions in a statement: 0.5 to 0.7 µs each, besides 75 µs a question. */
const MAX_ROWS_PER_STATEMENT = 10_000;

/**
 * Asks conditions of Postgres, all in one statement. One bad row harms only itself, and a slow condition delays
 * the others by at most one timeout: when the statement for all fails, each is asked on its own, side by side.
 */
export class Conditions {
  readonly #connection: pg.ClientConfig;
  readonly #timeoutMs: number;
  /** Timeouts and lost connections in a row, by function: a condition that was changed starts afresh. */
  readonly #timeouts = new Map<string, number>();
  /** Functions whose last answer was an error: they would spoil the statement for all. */
  readonly #failing = new Set<string>();
  readonly #idle: ConditionSession[] = [];
  #isClosed = false;

  constructor(options: {
    readonly connection: pg.ClientConfig;
    /** How long one `ask` may take for all its questions. */
    readonly timeoutMs?: number;
  }) {
    this.#connection = options.connection;
    this.#timeoutMs = options.timeoutMs ?? 250;
  }

  /**
   * A verdict for each row of each question, in order, within one timeout. Rejects when the database cannot be
   * reached: then nothing is decided, and the same questions may be asked again.
   */
  async ask(questions: readonly Question[]): Promise<readonly (readonly Verdict[])[]> {
    const deadlineMs = performance.now() + this.#timeoutMs;
    const verdicts = new Map<Question, readonly Verdict[]>();
    const suspects: Question[] = [];
    const trusted: Question[] = [];
    for (const question of questions) {
      const timeouts = this.#timeouts.get(question.functionName) ?? 0;
      if (timeouts >= SUSPEND_AFTER || question.event.length === 0)
        verdicts.set(question, sameForAll(question, TIMEOUT));
      else if (timeouts > 0 || this.#failing.has(question.functionName)) suspects.push(question);
      else trusted.push(question);
    }
    // Whoever was late before gets less of the time of those who were not.
    const suspectsDeadlineMs = performance.now() + this.#timeoutMs * SUSPECTS_SHARE;
    await Promise.all([
      this.#askTogether(trusted, deadlineMs, verdicts),
      this.#askEach(suspects, suspectsDeadlineMs, verdicts),
    ]);
    return questions.map((question) => verdicts.get(question) ?? sameForAll(question, TIMEOUT));
  }

  /** One row, on a connection of its own; an answer in time ends the condition's suspension. */
  async askParked(question: Question): Promise<Verdict> {
    const [verdict = TIMEOUT] = await this.#askAlone(question, performance.now() + this.#timeoutMs);
    return verdict;
  }

  /** Whether live batches no longer ask this function, because it did not answer several times in a row. */
  isSuspended(functionName: string): boolean {
    return (this.#timeouts.get(functionName) ?? 0) >= SUSPEND_AFTER;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all(this.#idle.splice(0).map((session) => session.close()));
  }

  async #askTogether(
    questions: readonly Question[],
    deadlineMs: number,
    verdicts: Map<Question, readonly Verdict[]>,
  ): Promise<void> {
    const toAskEach: Question[] = [];
    const batches = inBatches(questions);
    // Statements that answer are no delay but work; those after one that did not share what is left.
    let withinMs = this.#timeoutMs * TOGETHER_SHARE;
    for (const asked of batches) {
      if (asked.length === 1) toAskEach.push(...asked);
      else {
        const reply = await this.#run<boolean | null>("ask", asked, withinMs);
        if (reply.kind === "answers") {
          asked.forEach((question, q) => verdicts.set(question, this.#accept(question, reply.answers[q])));
        } else {
          toAskEach.push(...asked);
          withinMs = (this.#timeoutMs * TOGETHER_SHARE) / batches.length;
        }
      }
    }
    await this.#askEach(toAskEach, deadlineMs, verdicts);
  }

  async #askEach(
    questions: readonly Question[],
    deadlineMs: number,
    verdicts: Map<Question, readonly Verdict[]>,
  ): Promise<void> {
    for (let from = 0; from < questions.length; from += MAX_CONCURRENT) {
      const groupsLeft = Math.ceil((questions.length - from) / MAX_CONCURRENT);
      const now = performance.now();
      const groupDeadlineMs = now + (deadlineMs - now) / groupsLeft;
      await Promise.all(
        questions
          .slice(from, from + MAX_CONCURRENT)
          .map(async (question) => verdicts.set(question, await this.#askAlone(question, groupDeadlineMs))),
      );
    }
  }

  async #askAlone(question: Question, deadlineMs: number): Promise<readonly Verdict[]> {
    const reply = await this.#runAlone<boolean | null>("ask", question, deadlineMs);
    switch (reply.kind) {
      case "answers":
        return this.#accept(question, reply.answers[0]);
      case "timeout":
        return this.#unanswered(question, TIMEOUT);
      case "lost":
        return this.#unanswered(question, ofLoss(reply.message));
      case "error":
        this.#failing.add(question.functionName);
        // No other row would be answered either; a single row has nobody to be told apart from.
        if (isBroken(reply.sqlState)) return sameForAll(question, ofError(reply.sqlState, reply.message));
        return this.#askRows(question, deadlineMs);
      default:
        return reply satisfies never;
    }
  }

  /** The batch gave no answers: row by row it shows which one is to blame. */
  async #askRows(question: Question, deadlineMs: number): Promise<readonly Verdict[]> {
    const reply = await this.#runAlone<string>("ask_rows", question, deadlineMs);
    if (reply.kind === "timeout") return this.#unanswered(question, TIMEOUT);
    if (reply.kind === "lost") return this.#unanswered(question, ofLoss(reply.message));
    if (reply.kind === "error") return sameForAll(question, ofError(reply.sqlState, reply.message));
    this.#timeouts.delete(question.functionName);
    const verdicts = question.event.map((_, row) => ofText(reply.answers[0]?.[row]));
    if (!verdicts.some(({ kind }) => kind === "error")) return verdicts;
    const isStale = await this.#withSession((session) => session.isStale(question.functionName, this.#timeoutMs));
    return isStale
      ? verdicts.map((verdict) => (verdict.kind === "error" ? ofStale(verdict.message) : verdict))
      : verdicts;
  }

  #accept({ functionName }: Question, answers: readonly (boolean | null)[] = []): readonly Verdict[] {
    this.#timeouts.delete(functionName);
    this.#failing.delete(functionName);
    return answers.map(ofBoolean);
  }

  #unanswered(question: Question, verdict: Verdict): readonly Verdict[] {
    this.#timeouts.set(question.functionName, (this.#timeouts.get(question.functionName) ?? 0) + 1);
    return sameForAll(question, verdict);
  }

  /**
   * A connection that ends may have been ended by anybody, so the question is asked once more, on a new one; if that ends as well, the
   * condition does it. Rejects where no new one can be had: then it is the database that is gone.
   */
  async #runAlone<T>(asker: "ask" | "ask_rows", question: Question, deadlineMs: number): Promise<Reply<readonly T[]>> {
    const reply = await this.#run<T>(asker, [question], deadlineMs - performance.now());
    if (reply.kind !== "lost") return reply;
    // Others that lie idle may have met the same end.
    for (const session of this.#idle.splice(0)) void session.close();
    return this.#run<T>(asker, [question], deadlineMs - performance.now());
  }

  #run<T>(asker: "ask" | "ask_rows", questions: readonly Question[], withinMs: number): Promise<Reply<readonly T[]>> {
    // However late it is: no condition is to blame for a pause of ours.
    const fairMs = Math.max(this.#timeoutMs / 10, withinMs);
    return this.#withSession((session) => session.ask<T>(asker, questions, fairMs));
  }

  async #withSession<T>(use: (session: ConditionSession) => Promise<T>): Promise<T> {
    let session = this.#idle.pop();
    while (session !== undefined && !session.isUsable) session = this.#idle.pop();
    session ??= await ConditionSession.open(this.#connection);
    try {
      return await use(session);
    } finally {
      if (this.#isClosed || this.#idle.length >= MAX_IDLE_SESSIONS) void session.close();
      else if (session.isUsable) this.#idle.push(session);
    }
  }
}

function inBatches(questions: readonly Question[]): readonly (readonly Question[])[] {
  const batches: Question[][] = [];
  let rows = 0;
  for (const question of questions) {
    const last = batches.at(-1);
    rows += question.event.length;
    if (last === undefined || last.length >= MAX_QUESTIONS_PER_STATEMENT || rows > MAX_ROWS_PER_STATEMENT) {
      batches.push([question]);
      rows = question.event.length;
    } else last.push(question);
  }
  return batches;
}

function sameForAll({ event }: Question, verdict: Verdict): readonly Verdict[] {
  return event.map(() => verdict);
}
