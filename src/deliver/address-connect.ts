import type { LookupFunction, Socket } from "node:net";
import { buildConnector } from "undici";
import type { AddressGuard } from "./address-guard.ts";
import { watchOpening, type Opening } from "./opening.ts";
import { processLookup } from "./process-lookup.ts";
import type { LookupAll } from "./shared-lookup.ts";

/** From the first question about the name until the connection stands, TLS and all. */
const CONNECT_TIMEOUT_MS = 10_000;

/** The address of a request is not allowed. */
export class BlockedAddressError extends Error {
  readonly code: string = "BLOCKED_ADDRESS";

  constructor(refusal: string) {
    super(`blocked: ${refusal}`);
    this.name = "BlockedAddressError";
  }
}

export interface GuardedLookupOptions {
  /** Null: an operator's proxy, which may be anywhere. */
  readonly guard: AddressGuard | null;
  readonly port: number;
  readonly lookup?: LookupAll | undefined;
  readonly patienceMs: number;
}

/**
 * A `lookup` for `net.connect` that gives only addresses which were judged, at each connection anew, whoever it shares the
 * lookup with. One that is refused refuses the name: who controls it chooses which of its addresses is dialled.
 */
export function guardedLookup(its: GuardedLookupOptions): LookupFunction {
  const { guard, port, lookup = processLookup, patienceMs } = its;
  return (host, options, callback) => {
    lookup(host, { ...options, all: true, patienceMs }, (error, addresses) => {
      if (error !== null) return callback(error, "");
      for (const { address } of addresses) {
        const refusal = guard?.refusal({ address, port, host }) ?? null;
        if (refusal !== null) return callback(new BlockedAddressError(refusal), "");
      }
      if (options.all === true) return callback(null, addresses);
      const [first] = addresses;
      if (first === undefined)
        return callback(Object.assign(new Error(`${host} has no address`), { code: "ENOTFOUND" }), "");
      callback(null, first.address, first.family);
    });
  };
}

/** Ends a connection that has led to a refused address, before a byte is written to it. */
export function watchPeer(
  socket: Socket,
  guard: AddressGuard,
  host: string,
  onRefused: (error: BlockedAddressError) => void,
): void {
  // Before all others, that of TLS too: its first message is already something that is sent.
  socket.prependOnceListener("connect", () => {
    const { remoteAddress = "", remotePort = 0 } = socket;
    const refusal = guard.refusal({ address: remoteAddress, port: remotePort, host });
    if (refusal === null) return;
    const error = new BlockedAddressError(refusal);
    onRefused(error);
    socket.destroy(error);
  });
}

export interface ConnectOptions {
  readonly guard: AddressGuard;
  readonly lookup?: LookupAll | undefined;
  readonly tls?: buildConnector.BuildOptions | undefined;
}

/**
 * Connects undici to one origin, and judges where it goes, at each connection anew: a literal before it is dialled
 * (`lookup` is not asked about those), each address that a name resolves to, and the peer that was reached.
 */
export function guardedConnector(origin: URL, { guard, lookup, tls }: ConnectOptions): GuardedConnector {
  const port = Number(origin.port) || (origin.protocol === "https:" ? 443 : 80);
  const connect = buildConnector({
    ...tls,
    timeout: CONNECT_TIMEOUT_MS,
    lookup: guardedLookup({ guard, port, lookup, patienceMs: CONNECT_TIMEOUT_MS }),
  }) as SocketConnector;
  return (options, callback) => {
    const refusal = guard.hostRefusal(options.hostname, port);
    if (refusal !== null) {
      queueMicrotask(() => callback(new BlockedAddressError(refusal), null));
      return null;
    }
    let refused: BlockedAddressError | null = null;
    const socket = connect(options, (...result) => {
      if (refused === null) callback(...result);
      else callback(refused, null);
    });
    watchPeer(socket, guard, options.hostname, (error) => {
      refused = error;
    });
    return watchOpening(socket);
  };
}

/** Gives what is known of the new connection, at each moment; null where nothing is dialled. */
export type GuardedConnector = (...parameters: Parameters<buildConnector.connector>) => Opening | null;

/** It gives the socket back, which its types leave out. */
type SocketConnector = (...parameters: Parameters<buildConnector.connector>) => Socket;
