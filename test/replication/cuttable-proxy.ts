import { type Socket, connect, createServer } from "node:net";

/** A TCP proxy in front of a server, that can lose everything without a word, or close. */
export interface CuttableProxy {
  /** The server's connection string with the proxy's address in it. */
  readonly url: string;
  /** From now on nothing passes in either direction, and nothing is closed: a half-open connection. */
  fallSilent(): void;
  /** Resets all connections. */
  cut(): void;
  close(): Promise<void>;
}

export async function cuttableProxy(url: string): Promise<CuttableProxy> {
  const target = new URL(url);
  const sockets = new Set<Socket>();
  let isSilent = false;
  const server = createServer((client) => {
    const upstream = connect(Number(target.port), target.hostname);
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from);
      from.on("error", () => {});
      from.on("data", (bytes) => {
        if (!isSilent) to.write(bytes);
      });
      from.on("close", () => {
        sockets.delete(from);
        if (!isSilent) to.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const proxied = new URL(url);
  proxied.port = String((server.address() as { port: number }).port);
  return {
    url: proxied.href,
    fallSilent: () => {
      isSilent = true;
    },
    cut: () => {
      for (const socket of sockets) socket.resetAndDestroy();
    },
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => {
        server.close(resolve);
      });
    },
  };
}
