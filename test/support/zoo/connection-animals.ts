import { createServer } from "node:net";
import { drip, listen, raw, type Animal, type Den } from "./animal.ts";

const OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/** Receivers whose connections are the trouble. */
export const CONNECTION_ANIMALS: readonly Animal[] = [
  {
    does: "has a name that does not exist",
    outcome: "tried again",
    errorClass: "dns",
    throughProxy: "proxy",
    open: async () => await Promise.resolve({ url: "http://no-such-host.invalid/", close: () => {} }),
  },
  {
    does: "refuses the connection",
    outcome: "tried again",
    errorClass: "connect",
    throughProxy: "proxy",
    open: closedPort,
  },
  {
    does: "listens on IPv6 alone",
    outcome: "delivered",
    errorClass: "",
    throughProxy: null,
    open: () => raw((socket) => socket.write(OK), "::1"),
  },
  {
    does: "closes the connection at once",
    outcome: "tried again",
    errorClass: "reset",
    open: () => listen(createServer((socket) => socket.destroy())),
  },
  {
    does: "resets the connection before it answers",
    outcome: "tried again",
    errorClass: "reset",
    open: () => raw((socket) => socket.resetAndDestroy()),
  },
  {
    does: "closes its half of the connection, and never answers",
    outcome: "tried again",
    errorClass: "reset",
    open: () =>
      listen(createServer({ allowHalfOpen: true }, (socket) => socket.once("data", () => socket.end()).resume())),
  },
  {
    does: "resets the connection amid the headers of its answer",
    outcome: "tried again",
    errorClass: "reset",
    open: () => raw((socket) => socket.write("HTTP/1.1 200 OK\r\ncontent-le", () => socket.resetAndDestroy())),
  },
  {
    does: "resets the connection amid the body of its answer",
    outcome: "tried again",
    errorClass: "reset",
    open: () =>
      raw((socket) => socket.write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok", () => socket.resetAndDestroy())),
  },
  {
    does: "closes the connection right after its answer, though it said keep-alive",
    outcome: "delivered",
    errorClass: "",
    next: "delivered",
    open: () => raw((socket) => socket.end("HTTP/1.1 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok")),
  },
  {
    does: "resets the connection after its answer",
    outcome: "delivered",
    errorClass: "",
    next: "delivered",
    open: () => raw((socket) => socket.write(OK, () => setTimeout(() => socket.resetAndDestroy(), 20))),
  },
  {
    does: "closes a connection that it kept when the next request comes",
    outcome: "delivered",
    errorClass: "",
    next: "delivered",
    open: () => raw((socket) => (socket.bytesWritten > 0 ? socket.destroy() : socket.write(OK))),
  },
  {
    does: "answers before it has read the request",
    outcome: "delivered",
    errorClass: "",
    open: () => listen(createServer((socket) => socket.pause().write(OK))),
  },
  { does: "never answers", outcome: "tried again", errorClass: "timeout", open: () => raw(() => {}) },
  {
    does: "drips the headers of its answer byte by byte",
    outcome: "tried again",
    errorClass: "timeout",
    open: () => raw((socket) => drip(socket, `HTTP/1.1 200 OK\r\nx: ${"y".repeat(10_000)}`)),
  },
  {
    does: "drips the body of its answer byte by byte",
    outcome: "tried again",
    errorClass: "timeout",
    open: () =>
      raw((socket) => {
        socket.write("HTTP/1.1 200 OK\r\ncontent-length: 10000\r\n\r\n");
        drip(socket, "y");
      }),
  },
];

/** A port that was free a moment ago. */
async function closedPort(): Promise<Den> {
  const den = await listen(createServer());
  den.close();
  return den;
}
