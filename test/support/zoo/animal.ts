import { createServer, type AddressInfo, type Server, type Socket } from "node:net";

/** A receiver that misbehaves. */
export interface Animal {
  /** What it does, in the words of the table in docs/receivers.md. */
  readonly does: string;
  readonly outcome: "delivered" | "tried again";
  /** Empty where it is delivered. */
  readonly errorClass: string;
  /** What another request on the same transport meets, where that is worth a look; default: nobody asks. */
  readonly next?: "delivered";
  /** Its class behind a SOCKS proxy, where that is another; null: the proxy's own affair. */
  readonly throughProxy?: string | null;
  readonly open: () => Promise<Den>;
}

/** One of them at home. */
export interface Den {
  readonly url: string;
  /** What it got rid of, in bytes, where it writes without end. */
  readonly written?: () => number;
  readonly close: () => void;
}

/** What it does with a request that has come in, or the beginning of it. */
type Deed = (socket: Socket, count: number) => void;

/** A TCP server that does something with each request. */
export async function raw(onRequest: Deed, host = "127.0.0.1"): Promise<Den> {
  return await listen(
    createServer((socket) => {
      socket.on("data", (chunk) => {
        // The whole request stands in one chunk, being short; what is no request's beginning is its rest.
        if (chunk.includes("POST ")) onRequest(socket, ++count);
      });
    }),
    host,
  );
}
let count = 0;

/** A TCP server that does something with each connection. */
export async function listen(
  server: Server,
  host = "127.0.0.1",
  urlOf = (port: number): string => `http://${host.includes(":") ? `[${host}]` : host}:${port}/`,
): Promise<Den> {
  const sockets = new Set<Socket>();
  let written = 0;
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => {
      sockets.delete(socket);
      written += socket.bytesWritten;
    });
  });
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  return {
    url: urlOf((server.address() as AddressInfo).port),
    written: () => [...sockets].reduce((sum, socket) => sum + socket.bytesWritten, written),
    close: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

/** Writes the same again and again, as fast as it is taken. */
export function forever(socket: Socket, text: string): void {
  const chunk = Buffer.from(text.repeat(Math.ceil(16_384 / text.length)));
  const more = (): void => {
    while (socket.writable && socket.write(chunk));
  };
  socket.on("drain", more);
  more();
}

/** Writes a text byte by byte, too slowly. */
export function drip(socket: Socket, text: string): void {
  let at = 0;
  const timer = setInterval(
    () => (socket.writable ? socket.write(text[at++ % text.length]!) : clearInterval(timer)),
    20,
  );
  socket.on("close", () => clearInterval(timer));
}
