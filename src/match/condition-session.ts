import pg from "pg";
import { PIN_TEXT_SETTINGS } from "../replication/session.ts";
import type { Question } from "./question.ts";

/** What one statement gave: an answer for each question, in order, or why there is none. */
export type Reply<T> =
  | { readonly kind: "answers"; readonly answers: readonly T[] }
  | { readonly kind: "error"; readonly sqlState: string; readonly message: string }
  | { readonly kind: "timeout" };

/** The server ends a statement a little before we would end its session, which costs a new connection. */
const SERVER_SHARE = 0.85;
const QUERY_CANCELED = "57014";
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
  #isUsable = true;

  private constructor(client: pg.Client, pid: number, connection: pg.ClientConfig) {
    this.#client = client;
    this.#pid = pid;
    this.#connection = connection;
    client.on("end", () => (this.#isUsable = false));
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
   * Rejects when the connection is lost.
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
    const asked = this.#transaction<Record<string, T[]>>(`select ${calls.join(", ")}`, params, withinMs * SERVER_SHARE);
    let timer: NodeJS.Timeout | undefined;
    const deadline = new Promise<"timeout">((resolve) => {
      // After a pause of our own the answer may lie in the socket unread: it is read before the immediates run.
      timer = setTimeout(() => setImmediate(() => setImmediate(() => resolve("timeout"))), withinMs);
    });
    try {
      const row = await Promise.race([asked, deadline]);
      if (row === "timeout") {
        asked.catch(() => {});
        this.#isUsable = false;
        void this.#terminate();
        return { kind: "timeout" };
      }
      return { kind: "answers", answers: questions.map((_, q) => row[`a${q}`] ?? []) };
    } catch (error) {
      const { code, message } = error as pg.DatabaseError;
      if (code === QUERY_CANCELED) return { kind: "timeout" };
      // Shutdown, termination and a broken connection are nothing that an expression says.
      if (code === undefined || !/^[0-9A-Z]{5}$/.test(code) || /^(57P|08)/.test(code)) throw error;
      return { kind: "error", sqlState: code, message };
    } finally {
      clearTimeout(timer);
    }
  }

  /** Whether the columns that a condition reads have changed since it was compiled. Rejects when the connection is lost. */
  async isStale(functionName: string): Promise<boolean> {
    const { rows } = await this.#client.query<{ stale: boolean }>("select walhook.condition_is_stale($1) as stale", [
      functionName,
    ]);
    return rows[0]?.stale === true;
  }

  async close(): Promise<void> {
    this.#isUsable = false;
    await this.#client.end().catch(() => {});
  }

  async #transaction<Row extends pg.QueryResultRow>(
    statement: string,
    params: unknown[],
    withinMs: number,
  ): Promise<Row> {
    const timeoutMs = Math.max(1, Math.floor(withinMs));
    const [begun, asked, ended] = await Promise.allSettled([
      this.#client.query(`begin read only; set local statement_timeout = ${timeoutMs}`),
      this.#client.query<Row>(statement, params),
      // Advisory locks of the session are the one thing that outlives a transaction.
      this.#client.query("rollback; select pg_advisory_unlock_all()"),
    ]);
    if (asked.status === "rejected") throw asked.reason;
    if (begun.status === "rejected") throw begun.reason;
    if (ended.status === "rejected") throw ended.reason;
    return asked.value.rows[0] as Row;
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
