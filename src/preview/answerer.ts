import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import type { AttemptRecord } from "../deliver/attempt-record.ts";
import type { SecretSources } from "../deliver/secret-reference.ts";
import type { Transport } from "../deliver/transport.ts";
import { Conditions } from "../match/conditions.ts";
import { Doorbell } from "./doorbell.ts";
import { Previewer, type PreviewMeans } from "./previewer.ts";
import type { Previewed, PreviewQuestion } from "./preview-question.ts";
import { logTest, sendTest } from "./send-test.ts";
import { openMessage } from "./signed-message.ts";

/** What `walhook.emit` writes into the WAL. It may be called by whoever may ask anything, so nothing in it is to be relied on. */
type Message =
  | {
      readonly kind: "preview";
      readonly token: string;
      /** When nobody waits any more, by the server's clock. */
      readonly untilMs: number;
      readonly question: PreviewQuestion;
    }
  | { readonly kind: "test"; readonly token: string };

/** What is answered to a preview. */
type Answer = { readonly rows: readonly Previewed[] } | { readonly error: string };

/** What waits for its turn; more are dropped, and whoever asked is told that the bridge is busy. */
const MAX_WAITING = 100;
const MAX_TESTS = 20;
/** Rows of a question, and characters of the bodies that answer it. */
const MAX_ROWS = 1000;
const MAX_CHARACTERS = 32 * 1024 * 1024;
/** A commit is in the stream before everybody sees it, with synchronous replication long before. */
const TEST_TRIES = 12;
const ASK_FOR_FEWER = "ask for fewer: max_rows => 10. `walhook preview` on the command line takes any";
/** Answers that nobody took are cleared away after a minute. */
const SWEEP_AFTER_MS = 61_000;

export interface AnswererOptions {
  readonly pool: pg.Pool;
  /** By which messages are known that are to be heard, see `readMessageKey`. */
  readonly messageKey: Buffer;
  readonly transport: Transport;
  /** For conditions, which have connections of their own. */
  readonly connection: pg.ClientConfig;
  readonly conditionTimeoutMs: number;
  readonly places: SecretSources;
  readonly maxBodyBytes: number;
  /** How long `close` waits for tests under way. */
  readonly drainMs: number;
  readonly onAttempt: (record: AttemptRecord) => void;
}

/**
 * Answers what is asked of the running bridge from SQL, beside the pipe, whose events never wait for it. Whatever goes
 * wrong here is told to who asked, or to nobody: it never ends the session.
 */
export class Answerer {
  readonly #options: AnswererOptions;
  readonly #doorbell: Doorbell;
  #waiting: (Message & { readonly kind: "preview" })[] = [];
  readonly #tests = new Set<Promise<void>>();
  #answering: Promise<void> = Promise.resolve();
  #isAnswering = false;
  #sweep: NodeJS.Timeout | null = null;
  #isClosed = false;

  constructor(options: AnswererOptions) {
    this.#options = options;
    this.#doorbell = new Doorbell(options.pool);
  }

  start(): void {
    this.#doorbell.start();
    void this.#clearUp();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#waiting = [];
    if (this.#sweep !== null) clearTimeout(this.#sweep);
    await this.#doorbell.close();
    const late = new AbortController();
    await Promise.race([
      Promise.all([this.#answering, ...this.#tests]),
      sleep(this.#options.drainMs, undefined, { signal: late.signal }).catch(() => {}),
    ]);
    late.abort();
  }

  /** A message of the stream. Returns at once, and never throws. */
  notice(content: string): void {
    if (this.#isClosed) return;
    const message = parse(content, this.#options.messageKey);
    if (message === null) return;
    if (message.kind === "test") {
      if (this.#tests.size >= MAX_TESTS) return;
      const test = this.#test(message.token)
        .catch(() => {})
        .finally(() => this.#tests.delete(test));
      this.#tests.add(test);
    } else if (this.#waiting.length < MAX_WAITING) {
      this.#waiting.push(message);
      if (this.#isAnswering) return;
      this.#isAnswering = true;
      this.#answering = this.#answerAll();
    }
  }

  async #answerAll(): Promise<void> {
    for (let message = this.#waiting.shift(); message !== undefined; message = this.#waiting.shift()) {
      await this.#answer(message).catch(() => {});
    }
    this.#isAnswering = false;
  }

  async #answer({ token, untilMs, question }: Message & { readonly kind: "preview" }): Promise<void> {
    const { webhookId } = question;
    const { rows: clocks } = await this.#options.pool.query<{ ms: number }>(
      "select (extract(epoch from clock_timestamp()) * 1000)::float8 as ms",
    );
    const waitsUntil = performance.now() + untilMs - clocks[0]!.ms;
    const isWaitedFor = (): boolean => !this.#isClosed && performance.now() <= waitsUntil;
    if (!isWaitedFor()) return;
    const found = await this.#preview(question, isWaitedFor).catch((error: unknown) => ({
      error: error instanceof Error ? error.message : String(error),
    }));
    if (found === null) return;
    const answer = { webhookId, ...found };
    await this.#options.pool.query("select walhook.answer_question($1, $2, $3)", [
      token,
      Math.trunc(untilMs),
      JSON.stringify(answer),
    ]);
    this.#sweep ??= setTimeout(() => {
      this.#sweep = null;
      void this.#clearUp();
    }, SWEEP_AFTER_MS).unref();
  }

  /** Null: nobody waits for it any more. */
  async #preview(question: PreviewQuestion, isWaitedFor: () => boolean): Promise<Answer | null> {
    const asked = question.rows.length;
    if (asked > MAX_ROWS) {
      return { error: `${asked} documents are asked about, at most ${MAX_ROWS}; ${ASK_FOR_FEWER}` };
    }
    return this.#with(question, async (previewer) => {
      const rows: Previewed[] = [];
      let characters = 0;
      for await (const preview of previewer.previews()) {
        rows.push(preview);
        characters += preview.body?.length ?? 0;
        if (characters > MAX_CHARACTERS) return { error: `the bodies are too long for one answer; ${ASK_FOR_FEWER}` };
        if (!isWaitedFor()) return null;
      }
      return { rows };
    });
  }

  async #clearUp(): Promise<void> {
    await this.#options.pool.query("select walhook.answer_question(null, 0, null)").catch(() => {});
  }

  async #test(token: string): Promise<void> {
    const { pool, transport, onAttempt } = this.#options;
    const question = await this.#take(token);
    if (question === null) return;
    const record = await this.#with(question, (previewer) => sendTest(previewer, question, transport));
    onAttempt(record);
    const client = await pool.connect();
    try {
      await logTest(client, record);
    } finally {
      client.release();
    }
  }

  /** Once: a test that is read in the WAL again, after a crash, is not sent again. */
  async #take(token: string): Promise<PreviewQuestion | null> {
    for (let tries = 0; tries < TEST_TRIES && !this.#isClosed; tries++) {
      if (tries > 0) await sleep(2 ** tries);
      const { rows } = await this.#options.pool.query<{ content: PreviewQuestion | null }>(
        "select walhook.take_test($1) as content",
        [token],
      );
      const content = rows[0]?.content ?? null;
      if (content !== null) return content;
    }
    return null;
  }

  async #with<T>(question: PreviewQuestion, use: (previewer: Previewer) => Promise<T>): Promise<T> {
    const { pool, connection, conditionTimeoutMs, places, maxBodyBytes } = this.#options;
    const conditions = new Conditions({ connection, timeoutMs: conditionTimeoutMs });
    try {
      const means: PreviewMeans = { conditions, places, maxBodyBytes, unsignedBecause: null };
      const client = await pool.connect();
      let previewer: Previewer;
      try {
        previewer = await Previewer.open(client, question, means);
      } finally {
        client.release();
      }
      return await use(previewer);
    } finally {
      await conditions.close();
    }
  }
}

function parse(content: string, key: Buffer): Message | null {
  const opened = openMessage(content, key);
  if (opened === null) return null;
  const { token, json } = opened;
  try {
    const message = JSON.parse(json) as Partial<Message> | null;
    if (message?.kind === "test") return { kind: "test", token };
    if (message?.kind !== "preview" || typeof message.untilMs !== "number") return null;
    const { question, untilMs } = message;
    return Array.isArray(question?.rows) ? { kind: "preview", token, untilMs, question } : null;
  } catch {
    return null;
  }
}
