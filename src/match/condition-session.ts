import pg from "pg";
import { PIN_TEXT_SETTINGS } from "../replication/session.ts";
import type { Question } from "./conditions.ts";

/** What one statement gave: an answer for each question, in order, or why there is none. */
export type Reply<T> =
  | { readonly kind: "answers"; readonly answers: readonly T[] }
  | { readonly kind: "error"; readonly sqlState: string; readonly message: string }
  | { readonly kind: "timeout" };

/**
 * One connection for questions. Each is a READ ONLY transaction that ends in ROLLBACK, all of it in one round
 * trip, so that nothing an expression does stays behind: no settings, no locks, no temporary tables.
 */
export class ConditionSession {
  readonly #client: pg.Client;
  readonly #pid: number;
  readonly #connection: pg.ClientConfig;

  private constructor(client: pg.Client, pid: number, connection: pg.ClientConfig) {
    this.#client = client;
    this.#pid = pid;
    this.#connection = connection;
  }

  static async open(connection: pg.ClientConfig): Promise<ConditionSession> {
    const client = new pg.Client({ ...connection, pipeline: true } as pg.ClientConfig);
    client.on("error", () => {});
    await client.connect();
    await client.query(`${PIN_TEXT_SETTINGS}; set default_transaction_read_only = on`);
    const { rows } = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
    return new ConditionSession(client, rows[0]!.pid, connection);
  }

  /**
   * Asks all questions in one statement. After `withinMs` the answer is "timeout", at once, and the session is of
   * no more use: its backend is terminated, since an expression can catch its own cancellation.
   * Rejects when the connection is lost.
   */
  async ask<T>(
    asker: "ask" | "ask_rows",
    questions: readonly Question[],
    withinMs: number,
  ): Promise<Reply<readonly T[]>> {
    const calls = questions.map(
      (_, q) => `walhook.${asker}($${4 * q + 1}, $${4 * q + 2}, $${4 * q + 3}, $${4 * q + 4}) as a${q}`,
    );
    const params = questions.flatMap(({ functionName, doc, old, event }) => [functionName, doc, old, event]);
    const asked = this.#transaction<Record<string, T[]>>(`select ${calls.join(", ")}`, params);
    let timer: NodeJS.Timeout | undefined;
    const deadline = new Promise<"timeout">((resolve) => {
      timer = setTimeout(() => resolve("timeout"), withinMs);
    });
    try {
      const row = await Promise.race([asked, deadline]);
      if (row === "timeout") {
        asked.catch(() => {});
        void this.#terminate();
        return { kind: "timeout" };
      }
      return { kind: "answers", answers: questions.map((_, q) => row[`a${q}`] ?? []) };
    } catch (error) {
      const { code, message } = error as pg.DatabaseError;
      // Shutdown, termination and a broken connection are nothing that an expression says.
      if (code === undefined || !/^[0-9A-Z]{5}$/.test(code) || code.startsWith("57P") || code.startsWith("08"))
        throw error;
      return { kind: "error", sqlState: code, message };
    } finally {
      clearTimeout(timer);
    }
  }

  async close(): Promise<void> {
    await this.#client.end().catch(() => {});
  }

  async #transaction<Row extends pg.QueryResultRow>(statement: string, params: unknown[]): Promise<Row> {
    const [begun, asked, ended] = await Promise.allSettled([
      this.#client.query("begin read only"),
      this.#client.query<Row>(statement, params),
      this.#client.query("rollback"),
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
