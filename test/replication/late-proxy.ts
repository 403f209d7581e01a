import { connect, createServer, type Socket } from "node:net";

/** A TCP proxy in front of a server that passes what the server says in one piece, once the server has closed. */
export interface LateProxy {
  /** The server's connection string with the proxy's address in it. */
  readonly url: string;
  close(): Promise<void>;
}

export async function lateProxy(url: string): Promise<LateProxy> {
  const target = new URL(url);
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(Number(target.port), target.hostname);
    for (const socket of [client, upstream]) socket.on("error", () => {});
    sockets.add(client).add(upstream);
    const said: Buffer[] = [];
    client.pipe(upstream);
    upstream.on("data", (bytes) => said.push(bytes));
    upstream.on("close", () => client.end(Buffer.concat(said)));
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const proxied = new URL(url);
  proxied.port = String((server.address() as { port: number }).port);
  return {
    url: proxied.href,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => {
        server.close(resolve);
      });
    },
  };
}
