import pg from "pg";
import { AnswerLimit } from "../db/answer-limit.ts";
import { PIN_TEXT_SETTINGS } from "../replication/session.ts";
import type { Question } from "./question.ts";

/** What one statement gave: an answer for each question, in order, or why there is none. */
export type Reply<T> =
  | { readonly kind: "answers"; readonly answers: readonly T[] }
  | { readonly kind: "error"; readonly sqlState: string; readonly message: string }
  | { readonly kind: "timeout" }
  /** The connection ended meanwhile: an expression did that, somebody, or the server, which may be gone. */
  | { readonly kind: "lost"; readonly message: string };

/** The server ends a statement a little before we would end its session, which costs a new connection. */
const SERVER_SHARE = 0.85;
const QUERY_CANCELED = "57014";
/** A condition answers with a letter a row; an error quotes at most the row that it is about. */
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
const OF_BOOLEAN_ARRAYS: ReadonlyMap<number, (text: string) => unknown> = new Map([[1000, readBooleans]]);
const TYPES: pg.CustomTypesConfig = {
  getTypeParser: (oid, format) => OF_BOOLEAN_ARRAYS.get(oid) ?? pg.types.getTypeParser(oid, format),
};

/**
 * One connection for questions. Each is a READ ONLY transaction that ends in ROLLBACK, all of it in one round
 * trip, so that nothing an expression does stays behind: no settings, no locks, no temporary tables.
 */
export class ConditionSession {
  readonly #client: pg.Client;
  readonly #pid: number;
  readonly #connection: pg.ClientConfig;
  readonly #limit: AnswerLimit;
  #isUsable = true;

  private constructor(client: pg.Client, pid: number, connection: pg.ClientConfig) {
    this.#client = client;
    this.#pid = pid;
    this.#connection = connection;
    client.on("end", () => (this.#isUsable = false));
    this.#limit = new AnswerLimit(client, MAX_ANSWER_BYTES);
  }

  static async open(connection: pg.ClientConfig): Promise<ConditionSession> {
    const client = new pg.Client({ ...connection, pipeline: true, types: TYPES });
    client.on("error", () => {});
    await client.connect();
    await client.query(`${PIN_TEXT_SETTINGS}; set default_transaction_read_only = on`);
    const { rows } = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
    return new ConditionSession(client, rows[0]!.pid, connection);
  }

  /** False once the connection is lost, or ended because an expression held it. */
  get isUsable(): boolean {
    return this.#isUsable;
  }

  /**
   * Asks all questions in one statement. The answer comes within `withinMs`: first the server cancels the
   * statement; an expression that catches its own cancellation has its backend terminated.
   */
  async ask<T>(asker: "ask" | "ask_rows", questions: readonly Question[], withinMs: number): Promise<Reply<T[]>> {
    // What several questions share is sent, and read by the server, once.
    const numbers = new Map<unknown, number>();
    const numberOf = (param: unknown): string => {
      const number = numbers.get(param) ?? numbers.size + 1;
      numbers.set(param, number);
      return `$${number}`;
    };
    const calls = questions.map(
      ({ functionName, doc, old, event }, q) =>
        `walhook.${asker}(${numberOf(functionName)}, ${numberOf(doc)}, ${numberOf(old)}, ${numberOf(event)}) as a${q}`,
    );
    const params = [...numbers.keys()];
    const reply = await this.#run<Record<string, T[]>>(`select ${calls.join(", ")}`, params, withinMs);
    if (reply.kind !== "answers") return reply;
    const [row = {}] = reply.answers;
    return { kind: "answers", answers: questions.map((_, q) => row[`a${q}`] ?? []) };
  }

  /**
   * Whether the columns that a condition reads have changed since it was compiled; false where nobody can say: what is
   * looked into belongs to the condition's author, and must not harm anybody else.
   */
  async isStale(functionName: string, withinMs: number): Promise<boolean> {
    const statement = "select walhook.condition_is_stale($1) as stale";
    const reply = await this.#run<{ stale: boolean }>(statement, [functionName], withinMs);
    return reply.kind === "answers" && reply.answers[0]?.stale === true;
  }

  async close(): Promise<void> {
    this.#isUsable = false;
    await this.#client.end().catch(() => {});
  }

  /** The rows of a statement within its time. */
  async #run<Row extends pg.QueryResultRow>(
    statement: string,
    params: unknown[],
    withinMs: number,
  ): Promise<Reply<Row>> {
    this.#limit.reset();
    const asked = this.#transaction<Row>(statement, params, withinMs * SERVER_SHARE);
    let timer: NodeJS.Timeout | undefined;
    const deadline = new Promise<"timeout">((resolve) => {
      // After a pause of our own the answer may lie in the socket unread: it is read before the immediates run.
      timer = setTimeout(() => setImmediate(() => setImmediate(() => resolve("timeout"))), withinMs);
    });
    const reply = await Promise.race([asked, deadline]);
    clearTimeout(timer);
    if (reply === "timeout") {
      this.#isUsable = false;
      void this.#terminate();
      return { kind: "timeout" };
    }
    // The server says goodbye before the socket ends: nobody must ask here again.
    if (reply.kind === "lost") void this.close();
    return reply;
  }

  async #transaction<Row extends pg.QueryResultRow>(
    statement: string,
    params: unknown[],
    withinMs: number,
  ): Promise<Reply<Row>> {
    const timeoutMs = Math.max(1, Math.floor(withinMs));
    const [begun, asked, ended] = await Promise.allSettled([
      this.#client.query(`begin read only; set local statement_timeout = ${timeoutMs}`),
      this.#client.query<Row>(statement, params),
      // Advisory locks of the session are the one thing that outlives a transaction.
      this.#client.query("rollback; select pg_advisory_unlock_all()"),
    ]);
    // A condition may raise any SQLSTATE, that of a shutdown too. What is true of the connection shows in the statements around it.
    const broken = [begun, ended].find(({ status }) => status === "rejected") as PromiseRejectedResult | undefined;
    if (broken !== undefined) {
      const { message } = (asked.status === "rejected" ? asked.reason : broken.reason) as Error;
      return { kind: "lost", message };
    }
    if (asked.status === "fulfilled") return { kind: "answers", answers: asked.value.rows };
    const { code, message } = asked.reason as pg.DatabaseError;
    // No SQLSTATE: the driver could not read the answer.
    return code === QUERY_CANCELED ? { kind: "timeout" } : { kind: "error", sqlState: code ?? "XX000", message };
  }

  /** From outside, by another connection of the same role. */
  async #terminate(): Promise<void> {
    const killer = new pg.Client(this.#connection);
    killer.on("error", () => {});
    try {
      await killer.connect();
      await killer.query("select pg_terminate_backend($1)", [this.#pid]);
    } catch {
      // The server is gone, and the backend with it.
    }
    await killer.end().catch(() => {});
    await this.close();
  }
}

/** `{t,f,NULL}`, of one dimension that begins with 1. The driver's own parser takes eight times as long. */
export function readBooleans(text: string): readonly (boolean | null)[] {
  const booleans: (boolean | null)[] = [];
  for (let index = 1; index < text.length - 1; index += 2) {
    const letter = text.charCodeAt(index);
    if (letter === N) index += 3;
    booleans.push(letter === N ? null : letter === T);
  }
  return booleans;
}

const T = "t".charCodeAt(0);
const N = "N".charCodeAt(0);
