import type { LogicalReplicationService } from "pg-logical-replication";
import { Observable, type Subscriber } from "rxjs";
import { Acknowledger } from "./acknowledger.ts";
import { type Frame, weightOf } from "./frame.ts";
import { closeService, connectionOf } from "./library-service.ts";
import type { Lsn } from "./lsn.ts";
import { ReplicationLostError } from "./replication-lost-error.ts";
import type { ReplicationStream } from "./replication-stream.ts";
import type { StreamSession } from "./stream-plugin.ts";
import { within } from "../within.ts";

const STATUS_EVERY_MS = 10_000;
const STOP_WITHIN_MS = 2000;

/** A stream that has started, on the library's connection. */
export class LibraryStream implements ReplicationStream {
  readonly frames: Observable<Frame> = new Observable((subscriber) => this.#attach(subscriber));
  readonly #service: LogicalReplicationService;
  readonly #session: StreamSession;
  readonly #highWaterBytes: number;
  readonly #acknowledger: Acknowledger;
  readonly #statusTimer: NodeJS.Timeout;
  #subscriber: Subscriber<Frame> | null = null;
  /** What came in the same read as the server's consent, before anybody could subscribe. */
  #early: Frame[] = [];
  #heldBytes = 0;
  #isPaused = false;
  /** Its subscriber has left: nothing is read any more, but the server still hears from us. */
  #isAbandoned = false;
  #receivedAt = performance.now();
  #receivedAtLastStatus = 0;
  #ending: Promise<void> | null = null;
  #failure: Error | null = null;
  #serverIsDone: (() => void) | null = null;

  constructor(service: LogicalReplicationService, session: StreamSession, highWaterBytes: number) {
    this.#service = service;
    this.#session = session;
    this.#highWaterBytes = highWaterBytes;
    this.#acknowledger = new Acknowledger(session.confirmedFlushLsn, (lsn, requestReply) => {
      void service.acknowledge(lsn, requestReply);
    });
    const { walSenderTimeoutMs } = session;
    const everyMs = walSenderTimeoutMs > 0 ? Math.min(walSenderTimeoutMs / 3, STATUS_EVERY_MS) : STATUS_EVERY_MS;
    this.#statusTimer = setInterval(() => this.#sendStatus(), everyMs);
    this.#setPaused(true);
  }

  acknowledge(flushLsn: Lsn): void {
    if (this.#ending === null) this.#acknowledger.acknowledge(flushLsn);
  }

  get acknowledgedLsn(): Lsn {
    return this.#acknowledger.lsn;
  }

  answer(): void {
    if (this.#ending === null) this.#acknowledger.answer();
  }

  release(bytes: number): void {
    this.#heldBytes -= bytes;
    this.#balance();
  }

  /** Never throws: it runs inside the socket's callback, where an exception would make the driver parse the bytes again. */
  receive(frame: Frame): void {
    this.#receivedAt = performance.now();
    if (this.#ending !== null) return;
    try {
      if (frame.kind === "data") this.#heldBytes += weightOf(frame);
      if (this.#subscriber !== null) this.#subscriber.next(frame);
      else this.#early.push(frame.kind === "data" ? { ...frame, bytes: Buffer.from(frame.bytes) } : frame);
      this.#balance();
    } catch (error) {
      this.end(error as Error);
    }
  }

  /** The connection is over, for the given reason. */
  end(reason: Error): void {
    this.#serverIsDone?.();
    if (this.#ending !== null) return;
    this.#failure = reason;
    this.#ending = this.#close().then(() => this.#subscriber?.error(reason));
  }

  stop(): Promise<void> {
    this.#ending ??= this.#endCopy()
      .then(() => this.#close())
      .then(() => this.#subscriber?.complete());
    return this.#ending;
  }

  /** After CopyDone the server reads everything before it, the acknowledgement included, and ends the query. */
  async #endCopy(): Promise<void> {
    clearInterval(this.#statusTimer);
    const isDone = new Promise<void>((resolve) => {
      this.#serverIsDone = resolve;
    });
    this.#acknowledger.sendNow(true);
    connectionOf(this.#session.client).endCopyFrom();
    connectionOf(this.#session.client).stream.resume();
    await within(STOP_WITHIN_MS, isDone);
  }

  async #close(): Promise<void> {
    clearInterval(this.#statusTimer);
    this.#acknowledger.close();
    await closeService(this.#service, this.#session.client);
  }

  #attach(subscriber: Subscriber<Frame>): () => void {
    if (this.#subscriber !== null) throw new TypeError("a replication stream has one subscriber");
    this.#subscriber = subscriber;
    if (this.#failure !== null) subscriber.error(this.#failure);
    else if (this.#ending !== null) subscriber.complete();
    const early = this.#early;
    this.#early = [];
    for (const frame of early) subscriber.next(frame);
    this.#balance();
    return () => {
      this.#setPaused(true);
      this.#isAbandoned = true;
    };
  }

  #balance(): void {
    if (this.#ending !== null || this.#subscriber === null || this.#isAbandoned) return;
    if (this.#heldBytes >= this.#highWaterBytes) this.#setPaused(true);
    else if (this.#heldBytes <= this.#highWaterBytes / 2) this.#setPaused(false);
  }

  #setPaused(isPaused: boolean): void {
    if (this.#isPaused === isPaused || this.#ending !== null) return;
    this.#isPaused = isPaused;
    this.#receivedAt = performance.now();
    // Asked for late: the driver replaces the stream when TLS begins.
    const { stream } = connectionOf(this.#session.client);
    if (isPaused) stream.pause();
    else stream.resume();
  }

  /** A sign of life in both directions: where nothing came since the last one, the server is asked to answer. */
  #sendStatus(): void {
    const isSilent = this.#receivedAt === this.#receivedAtLastStatus;
    this.#receivedAtLastStatus = this.#receivedAt;
    this.#acknowledger.sendNow(isSilent && !this.#isPaused);
    // A process that was stopped for a while first reads what has come meanwhile.
    if (this.#isOverdue()) setImmediate(() => setImmediate(() => this.#endIfOverdue()));
  }

  #endIfOverdue(): void {
    if (!this.#isOverdue()) return;
    const { walSenderTimeoutMs } = this.#session;
    this.end(new ReplicationLostError(`the server was silent for ${2 * walSenderTimeoutMs} ms`));
  }

  #isOverdue(): boolean {
    const { walSenderTimeoutMs } = this.#session;
    const isWatched = walSenderTimeoutMs > 0 && !this.#isPaused && this.#ending === null;
    return isWatched && performance.now() - this.#receivedAt > 2 * walSenderTimeoutMs;
  }
}
