import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { CERTIFICATES } from "./certificates.ts";

/** A request as its bytes say, read without an HTTP library, so that nothing can have changed them. */
export interface RawRequest {
  readonly method: string;
  readonly target: string;
  /** By name in small letters; of several of one name the last. */
  readonly headers: Readonly<Record<string, string>>;
  /** Names in small letters, in order, each as often as it came. */
  readonly names: readonly string[];
  readonly body: Buffer;
}

/** A server that takes bytes off its sockets, after TLS where it speaks that, and answers 204. */
export interface RawReceiver {
  readonly port: number;
  readonly requests: readonly RawRequest[];
  [Symbol.asyncDispose](): Promise<void>;
}

export async function startRawReceiver({ tls = false }: { readonly tls?: boolean } = {}): Promise<RawReceiver> {
  const requests: RawRequest[] = [];
  const sockets = new Set<Socket>();
  const take = (socket: Socket): void => {
    let bytes: Buffer = Buffer.alloc(0);
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("data", (part: Buffer) => {
      bytes = Buffer.concat([bytes, part]);
      for (let found = split(bytes); found !== null; found = split(bytes)) {
        requests.push(found.request);
        bytes = found.rest;
        socket.write("HTTP/1.1 204 No Content\r\n\r\n");
      }
    });
  };
  const server: Server = tls ? createTlsServer(CERTIFICATES.server, take) : createServer(take);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    requests,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

/** The first request of what came; null while it is not whole. */
function split(bytes: Buffer): { readonly request: RawRequest; readonly rest: Buffer } | null {
  const at = bytes.indexOf("\r\n\r\n");
  if (at < 0) return null;
  const [first = "", ...lines] = bytes.toString("latin1", 0, at).split("\r\n");
  const pairs = lines.map((line): [string, string] => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
  });
  const headers = Object.fromEntries(pairs);
  const end = at + 4 + Number(headers["content-length"] ?? 0);
  if (bytes.length < end) return null;
  const [method = "", target = ""] = first.split(" ");
  const names = pairs.map(([name]) => name);
  return { request: { method, target, headers, names, body: bytes.subarray(at + 4, end) }, rest: bytes.subarray(end) };
}
