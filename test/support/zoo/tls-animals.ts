import { createSecureServer } from "node:http2";
import { createServer as createTlsServer, type ServerOptions } from "node:https";
import { createServer } from "node:net";
import { CERTIFICATES, EXPIRED, SELF_SIGNED } from "../certificates.ts";
import { listen, type Animal, type Den } from "./animal.ts";

const triedAgain = { outcome: "tried again", errorClass: "tls" } as const;

/** Receivers whose TLS is the trouble. */
export const TLS_ANIMALS: readonly Animal[] = [
  {
    does: "has a certificate for another name",
    ...triedAgain,
    open: () => overTls(CERTIFICATES.server, "127.0.0.2"),
  },
  { does: "has a certificate that has expired", ...triedAgain, open: () => overTls(EXPIRED) },
  { does: "has a certificate that it signed itself", ...triedAgain, open: () => overTls(SELF_SIGNED) },
  {
    does: "speaks TLS 1.0 alone",
    ...triedAgain,
    open: () =>
      overTls({ ...CERTIFICATES.server, minVersion: "TLSv1", maxVersion: "TLSv1", ciphers: "DEFAULT@SECLEVEL=0" }),
  },
  {
    does: "speaks no TLS where the URL is https",
    ...triedAgain,
    open: () =>
      listen(
        createServer((socket) => socket.write("HTTP/1.1 400 Bad Request\r\n\r\n")),
        undefined,
        secure,
      ),
  },
  {
    does: "closes the connection amid the agreement on TLS",
    outcome: "tried again",
    errorClass: "reset",
    open: () =>
      listen(
        createServer((socket) => socket.once("data", () => socket.destroy())),
        undefined,
        secure,
      ),
  },
  {
    does: "never answers the agreement on TLS",
    outcome: "tried again",
    errorClass: "timeout",
    open: () =>
      listen(
        createServer((socket) => socket.resume()),
        undefined,
        secure,
      ),
  },
  {
    does: "offers HTTP/2 beside HTTP/1.1",
    outcome: "delivered",
    errorClass: "",
    open: overHttp2,
  },
  {
    does: "speaks TLS where the URL is http",
    outcome: "tried again",
    errorClass: "reset",
    open: async () => {
      const den = await overTls(CERTIFICATES.server);
      return { ...den, url: den.url.replace("https:", "http:") };
    },
  },
];

const secure = (port: number): string => `https://localhost:${port}/`;

async function overTls(options: ServerOptions, host = "127.0.0.1"): Promise<Den> {
  const server = createTlsServer(options, (message, response) => message.on("end", () => response.end("ok")).resume());
  return await listen(server, host, (port) => `https://${host === "127.0.0.1" ? "localhost" : host}:${port}/`);
}

/** Answers 200 to HTTP/1.1 alone. */
async function overHttp2(): Promise<Den> {
  const server = createSecureServer({ ...CERTIFICATES.server, allowHTTP1: true }, (message, response) => {
    message.on("end", () => response.writeHead(message.httpVersion === "1.1" ? 200 : 500).end("ok")).resume();
  });
  return await listen(server, undefined, secure);
}
