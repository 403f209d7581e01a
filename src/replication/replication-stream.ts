import type pg from "pg";
import { LogicalReplicationService } from "pg-logical-replication";
import { Observable, type Subscriber } from "rxjs";
import { Acknowledger } from "./acknowledger.ts";
import { type Frame, weightOf } from "./frame.ts";
import { quotePublicationNames, quoteSlotName } from "./identifiers.ts";
import type { Lsn } from "./lsn.ts";
import { ReplicationLostError } from "./replication-lost-error.ts";
import { replicationClientConfig } from "./session.ts";
import { StreamPlugin, type StreamSession } from "./stream-plugin.ts";

export interface ReplicationOptions {
  readonly connection: pg.ClientConfig;
  readonly slotName: string;
  readonly publicationNames: readonly string[];
  /**
   * Bytes (see `weightOf`) received and not released at which the socket is paused; resumed at half of it. Default
   * 64 MiB; at least 4 MiB where `decode` follows, which holds back up to 1,000 changes until more has come.
   */
  readonly highWaterBytes?: number;
  /** How long connecting and starting may take, in milliseconds. Default 30,000. */
  readonly openTimeoutMs?: number;
}

export interface ReplicationStream {
  /**
   * What arrives, in wire order. Hot, for one subscriber; the socket is paused until it comes. Errors when
   * the connection is lost (the server's own error where it sent one), completes after `stop()`.
   */
  readonly frames: Observable<Frame>;
  /** Everything that ended at or before this LSN is durable here. Exact, monotonic, sent at most every 100 ms. */
  acknowledge(flushLsn: Lsn): void;
  /** What the server was told, or is being told: the slot stands there or before. */
  readonly acknowledgedLsn: Lsn;
  /** So many bytes of data frames, as `weightOf` counts them, have been dealt with. */
  release(bytes: number): void;
  /** Sends the last acknowledgement, waits up to 2 s until the server has read it, and closes. Never rejects. */
  stop(): Promise<void>;
}

const DEFAULT_HIGH_WATER_BYTES = 64 * 1024 * 1024;
const STATUS_EVERY_MS = 10_000;
const STOP_WITHIN_MS = 2000;

/**
 * Streams a slot. Resolves once the server has accepted START_REPLICATION; rejects with the server's error
 * (SQLSTATE in `code`: 42704 no such slot, 55006 in use, 55000 lost, …), the connection then being closed.
 *
 * `pg-logical-replication` carries the connection with its own acknowledging, timers and flow control off:
 * its timer acknowledges what was only received, its flow control reorders keepalives before data, and a
 * second `subscribe` starts at what was received. One instance a connection, therefore.
 */
export function openReplication(options: ReplicationOptions): Promise<ReplicationStream> {
  return new Promise((resolve, reject) => {
    quoteSlotName(options.slotName);
    quotePublicationNames(options.publicationNames);
    const service = new LogicalReplicationService(replicationClientConfig(options.connection), {
      acknowledge: { auto: false, timeoutSeconds: 0 },
      flowControl: { enabled: false },
    });
    listenFromBirth(service);
    const plugin = new StreamPlugin(options.publicationNames);
    let stream: LibraryStream | null = null;
    const end = (reason: Error): void => {
      clearTimeout(timer);
      if (stream !== null) stream.end(reason);
      else void closeService(service, plugin.session).then(() => reject(reason));
    };
    const timer = setTimeout(
      () => end(new ReplicationLostError("the server did not start replication in time")),
      options.openTimeoutMs ?? 30_000,
    );
    service.on("error", (error: Error) => end(error));
    service.on("start", () => {
      clearTimeout(timer);
      if (plugin.session === null) return end(new ReplicationLostError("replication started before it was asked for"));
      stream = new LibraryStream(service, plugin.session, options.highWaterBytes ?? DEFAULT_HIGH_WATER_BYTES);
      resolve(stream);
    });
    service.on("data", (lsn: string, bytes: Buffer) => stream?.receive({ kind: "data", lsn: readLsn(lsn), bytes }));
    service.on("heartbeat", (lsn: string, _timestamp: number, isReplyRequested: boolean) => {
      stream?.receive({ kind: "keepalive", lsn: readLsn(lsn) });
      if (isReplyRequested) stream?.answer();
    });
    service.subscribe(plugin, options.slotName, "0/0").then(
      () => end(new ReplicationLostError("the server ended the replication stream")),
      (error: unknown) => end(error as Error),
    );
    // The library listens only after it has connected: the server's farewell, read together with its greeting, would
    // end the process. By now its client exists, and nothing can have been read yet.
    setImmediate(() => clientOf(service)?.on("error", end));
  });
}

/**
 * The library listens to its client from when it is connected until it is closed. An error that comes in the same read as
 * the end of either has no listener, which would end the process; the query under way or the next one tells of it.
 */
function listenFromBirth(service: LogicalReplicationService): void {
  let current: pg.Client | null = null;
  Object.defineProperty(service, "_client", {
    get: () => current,
    set: (next: pg.Client | null) => {
      for (const client of [current, next]) client?.on("error", () => {});
      current = next;
    },
  });
}

class LibraryStream implements ReplicationStream {
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
    connectionOf(this.#session).endCopyFrom();
    connectionOf(this.#session).stream.resume();
    await within(STOP_WITHIN_MS, isDone);
  }

  async #close(): Promise<void> {
    clearInterval(this.#statusTimer);
    this.#acknowledger.close();
    await closeService(this.#service, this.#session);
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
    const { stream } = connectionOf(this.#session);
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

/** The driver's connection, which its types do not show; its version is pinned. */
interface DriverConnection {
  readonly stream: { pause(): void; resume(): void; destroy(): void };
  endCopyFrom(): void;
}

/** The library's client, which its types do not show; its version is pinned. */
function clientOf(service: LogicalReplicationService): pg.Client | null {
  return (service as unknown as { _client: pg.Client | null })._client;
}

function connectionOf(session: StreamSession): DriverConnection {
  return (session.client as unknown as { connection: DriverConnection }).connection;
}

async function closeService(service: LogicalReplicationService, session: StreamSession | null): Promise<void> {
  const closed = service.stop().catch(() => {});
  const isClosed = await within(STOP_WITHIN_MS, closed);
  if (!isClosed && session !== null) connectionOf(session).stream.destroy();
}

/** False where the time was over first. */
async function within(ms: number, promise: Promise<unknown>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), ms);
  });
  const isInTime = await Promise.race([promise.then(() => true), late]);
  clearTimeout(timer);
  return isInTime;
}

/** As `parseLsn`, for text that the library has just written. */
function readLsn(text: string): Lsn {
  const slash = text.indexOf("/");
  return (
    (BigInt(Number.parseInt(text.slice(0, slash), 16)) << 32n) | BigInt(Number.parseInt(text.slice(slash + 1), 16))
  );
}
