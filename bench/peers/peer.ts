import type { Stage } from "../stage.ts";

/** A way from a row to an HTTP request, as its own documentation says. */
export interface Peer {
  /** With its version where it has one. */
  readonly name: string;
  /** Of the server that it needs. */
  readonly server: PeerServer;
  /** What this machine lacks to run it, for people; null where it has all. */
  missing(): Promise<string | null>;
  readonly variants: readonly Variant[];
}

export interface PeerServer {
  /** Folder with the `bin/` of its PostgreSQL; null: the npm package's. */
  readonly nativeDir: () => Promise<string | null>;
  /** Settings that depend on the server, `name=value`. */
  readonly settings?: () => Promise<readonly string[]>;
  /** true: Walhook is installed in the database. */
  readonly hasWalhook?: boolean;
}

/** A peer as it comes, or tuned. */
export interface Variant {
  readonly name: string;
  /** Settings of the server, `name=value`. */
  readonly settings?: readonly string[];
  /** Starts it, so that INSERTs into table `event` come to the endpoint from now on or soon. */
  start(place: Place): Promise<RunningPeer>;
}

export interface Place {
  readonly stage: Stage;
  /** Of the endpoint. */
  readonly sinkUrl: string;
}

export interface RunningPeer {
  /** Processor time of its own processes so far, in seconds; null where it has none of its own. */
  readonly cpuSeconds: () => number | null;
  /** Why it does not run any more although nobody has ended it; null while it runs. */
  readonly ended: () => string | null;
  /** Ends it without warning, as a power cut does, and starts it again as whoever watches it would. */
  readonly crash: () => Promise<void>;
}

/** The npm package's PostgreSQL, without anything else. */
export const PACKAGED_SERVER: PeerServer = { nativeDir: () => Promise.resolve(null) };
