import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A request as it came off the wire. */
export interface ReceivedRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  readonly atMs: number;
}

export interface Answer {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly delayMs?: number;
  /** Answers when this has happened. */
  readonly until?: Promise<void>;
  /** Never answers. */
  readonly hang?: boolean;
  /** Closes the connection without an answer. */
  readonly reset?: boolean;
}

/** A real HTTP server that remembers what it got. */
export interface Receiver {
  readonly url: string;
  readonly port: number;
  /** In order of arrival. */
  readonly requests: readonly ReceivedRequest[];
  /** How it answers from now on. Default 200. */
  answer(with_: Answer | ((request: ReceivedRequest) => Answer)): void;
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

export async function startReceiver(): Promise<Receiver> {
  const requests: ReceivedRequest[] = [];
  let answer: (request: ReceivedRequest) => Answer = () => ({});
  const server = createServer((message, response) => {
    void read(message).then((request) => {
      requests.push(request);
      return respond(response, answer(request));
    });
  });
  server.keepAliveTimeout = 60_000;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const close = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    requests,
    answer: (with_) => {
      answer = typeof with_ === "function" ? with_ : () => with_;
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

async function read(message: IncomingMessage): Promise<ReceivedRequest> {
  const chunks: Buffer[] = [];
  for await (const chunk of message) chunks.push(chunk as Buffer);
  return {
    method: message.method ?? "",
    path: message.url ?? "",
    headers: message.headers as Record<string, string>,
    body: Buffer.concat(chunks),
    atMs: Date.now(),
  };
}

async function respond(
  response: ServerResponse,
  { status, headers, body, delayMs, until, hang, reset }: Answer,
): Promise<void> {
  if (hang === true) return;
  if (reset === true) {
    response.socket?.destroy();
    return;
  }
  if (delayMs !== undefined) await new Promise((resolve) => setTimeout(resolve, delayMs));
  await until;
  response.writeHead(status ?? 200, headers);
  response.end(body ?? "ok");
}
