import type { Socket } from "node:net";

/** How a connection was made, as far as it came: how long each step took, in ms, and where it led. */
export class Opening {
  /** Null: an address stood there instead of a name. */
  dnsMs: number | null = null;
  connectMs: number | null = null;
  /** Null: no TLS. */
  tlsMs: number | null = null;
  remoteAddress: string | null = null;
  /** A request has it in its log row already: the later ones on the connection did not wait for it. */
  isTold = false;
}

/** Watches a socket that has just begun to connect. */
export function watchOpening(socket: Socket): Opening {
  const opening = new Opening();
  let sinceMs = performance.now();
  const lap = (): number => {
    const beforeMs = sinceMs;
    sinceMs = performance.now();
    return sinceMs - beforeMs;
  };
  socket.once("lookup", () => {
    opening.dnsMs = lap();
  });
  // Before all others: they send the request.
  socket.prependOnceListener("connect", () => {
    opening.connectMs = lap();
    opening.remoteAddress = peerOf(socket);
  });
  socket.prependOnceListener("secureConnect", () => {
    opening.tlsMs = lap();
  });
  return opening;
}

/** The peer's address as Postgres' `inet` takes it, which knows no zones. */
export function peerOf({ remoteAddress }: Socket): string | null {
  return remoteAddress?.replace(/%.*/, "") ?? null;
}
