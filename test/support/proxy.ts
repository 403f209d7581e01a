import { createServer, request as forward, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { connect, createServer as createNetServer, type AddressInfo, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { CERTIFICATES } from "./certificates.ts";

/** A real proxy on this machine. */
export interface TestProxy {
  readonly url: string;
  readonly port: number;
  /** What it was asked to reach, as it was asked: `host:port`, or the whole URL. */
  readonly targets: readonly string[];
  [Symbol.asyncDispose](): Promise<void>;
}

export interface HttpProxyOptions {
  /** It speaks TLS itself. */
  readonly tls?: boolean;
  /** `user:password` that it wants. */
  readonly credentials?: string;
  /** What it answers to each request, instead of passing it on. */
  readonly refuseWith?: number;
  /** Names that it knows itself. */
  readonly hosts?: Readonly<Record<string, string>>;
}

/** A forward proxy: absolute URLs for http, CONNECT for https. */
export async function startHttpProxy(options: HttpProxyOptions = {}): Promise<TestProxy> {
  const targets: string[] = [];
  const resolve = (host: string): string => options.hosts?.[host] ?? host.replace(/^\[(.*)\]$/, "$1");
  const refusal = (message: IncomingMessage): number | null => {
    if (options.refuseWith !== undefined) return options.refuseWith;
    const wanted = options.credentials === undefined ? undefined : `Basic ${btoa(options.credentials)}`;
    return message.headers["proxy-authorization"] === wanted ? null : 407;
  };
  const onRequest = (message: IncomingMessage, response: ServerResponse): void => {
    targets.push(message.url ?? "");
    const status = refusal(message);
    if (status !== null) return void response.writeHead(status).end("no");
    const { hostname, port, pathname, search } = new URL(message.url ?? "");
    const { "proxy-connection": _, "proxy-authorization": __, ...headers } = message.headers;
    const onward = forward({ host: resolve(hostname), port, path: pathname + search, method: message.method, headers });
    onward.on("response", (answer) => {
      response.writeHead(answer.statusCode ?? 500, answer.headers);
      answer.pipe(response);
    });
    onward.on("error", () => (response.headersSent ? response.destroy() : response.writeHead(502).end()));
    message.pipe(onward);
  };
  const server = (
    options.tls === true ? createTlsServer(CERTIFICATES.server, onRequest) : createServer(onRequest)
  ) as Server;
  server.on("connect", (message: IncomingMessage, socket: Duplex) => {
    targets.push(message.url ?? "");
    socket.on("error", () => {});
    const status = refusal(message);
    if (status !== null) return void socket.end(`HTTP/1.1 ${status} No\r\ncontent-length: 0\r\n\r\n`);
    const [, host = "", port = ""] = /^(.*):(\d+)$/.exec(message.url ?? "") ?? [];
    join(connect(Number(port), resolve(host)), socket, () =>
      socket.write("HTTP/1.1 200 Connection established\r\n\r\n"),
    );
  });
  return listen(server, targets, options.tls === true ? "https" : "http");
}

/** A SOCKS proxy, versions 4a and 5, without credentials; it looks names up itself. */
export async function startSocksProxy(
  scheme: "socks5" | "socks4",
  hosts: HttpProxyOptions["hosts"] = {},
): Promise<TestProxy> {
  const targets: string[] = [];
  const server = createNetServer((socket) => {
    socket.on("error", () => {});
    const onward = (host: string, port: number, yes: Buffer): void => {
      targets.push(`${host}:${port}`);
      join(connect(port, hosts[host] ?? host), socket, () => socket.write(yes));
    };
    socket.once("data", (first) => {
      if (first[0] === 4) {
        const [, name = ""] = first.subarray(8).toString("latin1").split("\0");
        return onward(
          name === "" ? first.subarray(4, 8).join(".") : name,
          first.readUInt16BE(2),
          Buffer.from([0, 90, 0, 0, 0, 0, 0, 0]),
        );
      }
      socket.write(Buffer.from([5, 0]));
      socket.once("data", (asked) => {
        const isName = asked[3] === 3;
        const end = isName ? 5 + asked[4]! : 8;
        const host = isName ? asked.subarray(5, end).toString() : asked.subarray(4, end).join(".");
        onward(host, asked.readUInt16BE(end), Buffer.from([5, 0, 0, 1, 0, 0, 0, 0, 0, 0]));
      });
    });
  });
  return listen(server, targets, scheme);
}

function join(onward: Socket, socket: Duplex, onConnected: () => void): void {
  onward.on("connect", () => {
    onConnected();
    onward.pipe(socket).pipe(onward);
  });
  onward.on("error", () => socket.destroy());
  onward.on("close", () => socket.destroy());
  socket.on("close", () => onward.destroy());
}

async function listen(
  server: ReturnType<typeof createNetServer>,
  targets: string[],
  scheme: string,
): Promise<TestProxy> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `${scheme}://127.0.0.1:${port}`,
    port,
    targets,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}
