import type pg from "pg";
import { LogicalReplicationService } from "pg-logical-replication";
import type { Observable } from "rxjs";
import type { Frame } from "./frame.ts";
import { quotePublicationNames, quoteSlotName } from "./identifiers.ts";
import { clientOf, closeService, listenFromBirth } from "./library-service.ts";
import { LibraryStream } from "./library-stream.ts";
import type { Lsn } from "./lsn.ts";
import { ReplicationLostError } from "./replication-lost-error.ts";
import { replicationClientConfig } from "./session.ts";
import { StreamPlugin } from "./stream-plugin.ts";

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
      else void closeService(service, plugin.session?.client ?? null).then(() => reject(reason));
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

/** As `parseLsn`, for text that the library has just written. */
function readLsn(text: string): Lsn {
  const slash = text.indexOf("/");
  return (
    (BigInt(Number.parseInt(text.slice(0, slash), 16)) << 32n) | BigInt(Number.parseInt(text.slice(slash + 1), 16))
  );
}
