import { gzipSync } from "node:zlib";
import { forever, raw, type Animal } from "./animal.ts";

const LONG_AGO = "Thu, 01 Jan 1970 00:00:00 GMT";
const answering =
  (text: string): Animal["open"] =>
  () =>
    raw((socket) => socket.write(text));
const closing =
  (text: string): Animal["open"] =>
  () =>
    raw((socket) => socket.end(text));
const pouring =
  (head: string, text: string): Animal["open"] =>
  () =>
    raw((socket) => {
      socket.write(head);
      forever(socket, text);
    });
const retryAfter = (value: string): Animal["open"] =>
  answering(`HTTP/1.1 503 Busy\r\nretry-after: ${value}\r\ncontent-length: 0\r\n\r\n`);

const delivered = { outcome: "delivered", errorClass: "" } as const;
const triedAgain = (errorClass: string) => ({ outcome: "tried again", errorClass }) as const;

/** Receivers whose answers are the trouble. */
export const ANSWER_ANIMALS: readonly Animal[] = [
  { does: "answers without end", ...delivered, next: "delivered", open: pouring("HTTP/1.1 200 OK\r\n\r\n", "y") },
  {
    does: "sends headers without end",
    ...triedAgain("protocol"),
    open: pouring("HTTP/1.1 200 OK\r\n", "x-a: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n"),
  },
  { does: "sends one header without end", ...triedAgain("protocol"), open: pouring("HTTP/1.1 200 OK\r\nx-a: ", "y") },
  {
    does: "sends trailers without end",
    ...triedAgain("protocol"),
    open: pouring("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", "x-a: yyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n"),
  },
  {
    does: "sends 103 (Early Hints) without end",
    ...triedAgain("protocol"),
    open: pouring("", "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"),
  },
  {
    does: "sends 103 (Early Hints) before its answer",
    ...delivered,
    open: answering("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
  },
  {
    does: "sends 100 (Continue), which nobody asked for, before its answer",
    ...triedAgain("protocol"),
    throughProxy: "",
    open: answering("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
  },
  {
    does: "switches to another protocol (101)",
    ...triedAgain("protocol"),
    open: answering("HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n"),
  },
  {
    does: "sends a body with 204",
    ...delivered,
    next: "delivered",
    open: answering("HTTP/1.1 204 No Content\r\ncontent-length: 4\r\n\r\nbody"),
  },
  {
    does: "sends two answers to one request",
    ...delivered,
    next: "delivered",
    open: answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nHTTP/1.1 500 Not yours\r\ncontent-length: 0\r\n\r\n"),
  },
  {
    does: "packs 100 MB into a small answer (content-encoding: gzip)",
    ...delivered,
    open: () => {
      const bomb = gzipSync(Buffer.alloc(100_000_000));
      return raw((socket) => {
        socket.write(`HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: ${bomb.length}\r\n\r\n`);
        socket.write(bomb);
      });
    },
  },
  {
    does: "redirects to the metadata service of a cloud",
    ...triedAgain("http_status"),
    open: answering("HTTP/1.1 307 Go\r\nlocation: http://169.254.169.254/latest/\r\ncontent-length: 0\r\n\r\n"),
  },
  { does: "says Retry-After: a thousand years", ...triedAgain("http_status"), open: retryAfter("31536000000") },
  { does: "says Retry-After: -5", ...triedAgain("http_status"), open: retryAfter("-5") },
  { does: "says Retry-After: in 1970", ...triedAgain("http_status"), open: retryAfter(LONG_AGO) },
  { does: "says Retry-After: soon", ...triedAgain("http_status"), open: retryAfter("soon") },
  {
    does: "answers with a status that nobody knows (799)",
    ...triedAgain("http_status"),
    open: answering("HTTP/1.1 799 What\r\ncontent-length: 0\r\n\r\n"),
  },
  {
    does: "answers with a status line that is none",
    ...triedAgain("protocol"),
    open: closing("HTTP/1.1 OK 200\r\n\r\n"),
  },
  { does: "speaks a later HTTP than there is", ...triedAgain("protocol"), open: closing("HTTP/9.9 200 OK\r\n\r\n") },
  { does: "answers in plain text, as HTTP/0.9 did", ...triedAgain("protocol"), open: closing("<h1>It works</h1>") },
  { does: "answers by HTTP/1.0, and ends by closing", ...delivered, open: closing("HTTP/1.0 200 OK\r\n\r\nok") },
  {
    does: "sends fewer bytes than its content-length, and closes",
    ...triedAgain("reset"),
    open: closing("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nok"),
  },
  {
    does: "sends more bytes than its content-length",
    ...delivered,
    next: "delivered",
    open: answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok, and more"),
  },
  {
    does: "sends two content-lengths that differ",
    ...triedAgain("protocol"),
    open: answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok"),
  },
  {
    does: "sends a content-length with chunks",
    ...triedAgain("protocol"),
    open: answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
  },
  {
    does: "sends chunks that are none",
    ...triedAgain("protocol"),
    open: answering("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n"),
  },
  {
    does: "ends amid its chunks",
    ...triedAgain("reset"),
    open: closing("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab"),
  },
  {
    does: "folds a header into the next line, puts NUL into another",
    ...triedAgain("protocol"),
    open: answering("HTTP/1.1 200 OK\r\nx-a: b\0c\r\nx-d: e\r\n f\r\ncontent-length: 0\r\n\r\n"),
  },
  {
    does: "answers with bytes that are no text",
    ...delivered,
    open: () =>
      raw((socket) => {
        socket.write("HTTP/1.1 200 OK\r\nx-a: \xff\xfe\r\ncontent-length: 6\r\n\r\n", "latin1");
        socket.write(Buffer.from([0, 0xff, 0xfe, 0xc0, 0x80, 10]));
      }),
  },
];
