import { createServer, type Socket } from "node:net";
import type { AddressInfo } from "node:net";
import { requestEnd } from "./request-end.ts";

/**
 * An HTTP endpoint that costs little: it finds where each request ends, counts, and answers with bytes that are
 * ready. Run by `node-sink.ts` where there is no nginx.
 */

const ANSWER = Buffer.from("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok");

export interface SinkCount {
  readonly requests: number;
  readonly bytes: number;
  /** When the first and the last request were whole, in ms since 1970. */
  readonly firstAtMs: number;
  readonly lastAtMs: number;
  readonly cpuSeconds: number;
}

let requests = 0;
let bytes = 0;
let firstAtMs = 0;
let lastAtMs = 0;

function serve(socket: Socket): void {
  let rest: Buffer | null = null;
  socket.setNoDelay(true);
  socket.on("error", () => {});
  socket.on("data", (part) => {
    let data = rest === null ? part : Buffer.concat([rest, part]);
    bytes += part.length;
    for (let end = requestEnd(data); end > 0; end = requestEnd(data)) {
      requests++;
      lastAtMs = performance.timeOrigin + performance.now();
      if (firstAtMs === 0) firstAtMs = lastAtMs;
      socket.write(ANSWER);
      data = data.subarray(end);
    }
    rest = data.length === 0 ? null : data;
  });
}

process.on("message", (question: "count" | "reset") => {
  if (question === "reset") requests = bytes = firstAtMs = lastAtMs = 0;
  const { user, system } = process.cpuUsage();
  process.send?.({ requests, bytes, firstAtMs, lastAtMs, cpuSeconds: (user + system) / 1e6 } satisfies SinkCount);
});
process.on("disconnect", () => process.exit());

const server = createServer(serve);
server.listen(0, "127.0.0.1", 4096, () => process.send?.({ port: (server.address() as AddressInfo).port }));
