import { lookup as systemLookup, type LookupAddress } from "node:dns";
import type { LookupFunction, Socket } from "node:net";
import { buildConnector } from "undici";
import type { AddressGuard } from "./address-guard.ts";
import { watchOpening, type Opening } from "./opening.ts";

/** The address of a request is not allowed. */
export class BlockedAddressError extends Error {
  readonly code: string = "BLOCKED_ADDRESS";

  constructor(refusal: string) {
    super(`blocked: ${refusal}`);
    this.name = "BlockedAddressError";
  }
}

/** Looks a name up as `dns.lookup` does, all its addresses at once. */
export type LookupAll = (
  host: string,
  options: {
    readonly all: true;
    readonly hints?: number | undefined;
    readonly family?: number | "IPv4" | "IPv6" | undefined;
  },
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void;

/**
 * A `lookup` for `net.connect` that gives only addresses which were judged. One that is refused refuses the name: who
 * controls it chooses which of its addresses is dialled.
 */
export function guardedLookup(guard: AddressGuard, port: number, lookup: LookupAll = systemLookup): LookupFunction {
  return (host, options, callback) => {
    lookup(host, { ...options, all: true }, (error, addresses) => {
      if (error !== null) return callback(error, "");
      for (const { address } of addresses) {
        const refusal = guard.refusal({ address, port, host });
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
  const connect = buildConnector({ ...tls, lookup: guardedLookup(guard, port, lookup) }) as SocketConnector;
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
