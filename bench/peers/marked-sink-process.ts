import { createServer, type AddressInfo, type Socket } from "node:net";
import { marksIn } from "./event-mark.ts";
import { requestEnd } from "../request-end.ts";
import type { Arrivals, Expectation, MarkedCount, SinkQuestion } from "./marked-sink.ts";

/** The endpoint of `../sink-process.ts`, which also keeps when each event came. Run by `marked-sink.ts`. */

const ANSWER = Buffer.from("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok");

/** When each event came first, in ms since 1970. */
let arrivedAtMs = new Map<number, number>();
let expected: Expectation = { from: 0, to: Number.POSITIVE_INFINITY };
let later = 0;
let requests = 0;
let repeated = 0;

function serve(socket: Socket): void {
  let rest: Buffer | null = null;
  socket.setNoDelay(true);
  socket.on("error", () => {});
  socket.on("data", (part) => {
    let data = rest === null ? part : Buffer.concat([rest, part]);
    for (let end = requestEnd(data); end > 0; end = requestEnd(data)) {
      notice(data.toString("latin1", 0, end));
      socket.write(ANSWER);
      data = data.subarray(end);
    }
    rest = data.length === 0 ? null : data;
  });
}

function notice(request: string): void {
  const nowMs = performance.timeOrigin + performance.now();
  requests++;
  for (const number of marksIn(request)) {
    if (number >= expected.to) later++;
    else if (number < expected.from || arrivedAtMs.has(number)) repeated++;
    else arrivedAtMs.set(number, nowMs);
  }
}

process.on("message", (question: SinkQuestion) => {
  switch (question) {
    case "count":
      process.send?.({ requests, repeated, later, distinct: arrivedAtMs.size } satisfies MarkedCount);
      return;
    case "arrivals":
      process.send?.([...arrivedAtMs] satisfies Arrivals);
      return;
    default:
      arrivedAtMs = new Map();
      requests = repeated = later = 0;
      expected = question;
      process.send?.(null);
  }
});
process.on("disconnect", () => process.exit());

const server = createServer(serve);
server.listen(0, "127.0.0.1", 4096, () => process.send?.({ port: (server.address() as AddressInfo).port }));
