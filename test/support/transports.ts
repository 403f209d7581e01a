import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TLSSocket } from "node:tls";
import { AddressGuard, NO_OWN_PLACES, type AddressPolicy } from "../../src/deliver/address-guard.ts";
import { ProxyChoice } from "../../src/deliver/proxy-choice.ts";
import { RoutingTransport } from "../../src/deliver/routing-transport.ts";
import type { TransportRequest } from "../../src/deliver/transport.ts";
import type { Route } from "../../src/match/webhook.ts";
import { CERTIFICATES } from "./certificates.ts";
import { startHttpProxy, startSocksProxy, type TestProxy } from "./proxy.ts";
import { startReceiver, type Receiver } from "./receiver.ts";
import { PLAIN_ROUTE } from "./route.ts";

/** Names that only the proxies know. */
export const PROXY_HOSTS = { "hooks.example.com": "127.0.0.1" } as const;
export const PROXIES = ["an HTTP proxy", "an HTTPS proxy", "a SOCKS5 proxy", "a SOCKS4 proxy"] as const;

/** What a request over TLS came with. */
export interface SeenOverTls {
  readonly body: Buffer;
  readonly version: string | null;
  /** The common name of the client's certificate, where it is from the authority. */
  readonly client: string | null;
}

/** Receivers with and without TLS, a proxy of each kind, and a folder of TLS profiles. */
export interface Surroundings {
  readonly receiver: Receiver;
  readonly tlsPort: number;
  /** Requests over TLS, in order of arrival. */
  readonly overTls: readonly SeenOverTls[];
  readonly proxies: Readonly<Record<string, TestProxy>>;
  transport(policy?: Partial<AddressPolicy>, env?: Readonly<Record<string, string>>): RoutingTransport;
  close(): Promise<void>;
}

export async function startSurroundings(): Promise<Surroundings> {
  const overTls: SeenOverTls[] = [];
  const tlsReceiver = createServer({
    ...CERTIFICATES.server,
    ca: CERTIFICATES.authority,
    requestCert: true,
    rejectUnauthorized: false,
  });
  tlsReceiver.on("request", (message, response) => {
    const socket = message.socket as TLSSocket;
    const chunks: Buffer[] = [];
    message.on("data", (chunk: Buffer) => chunks.push(chunk));
    message.on("end", () => {
      const client = socket.authorized ? String(socket.getPeerCertificate().subject.CN) : null;
      overTls.push({ body: Buffer.concat(chunks), version: socket.getProtocol(), client });
      response.end("ok");
    });
  });
  await new Promise<void>((resolve) => tlsReceiver.listen(0, "127.0.0.1", resolve));
  const folder = await writeProfiles();
  const receiver = await startReceiver();
  const proxies: Record<string, TestProxy> = {
    "an HTTP proxy": await startHttpProxy({ hosts: PROXY_HOSTS }),
    "an HTTPS proxy": await startHttpProxy({ hosts: PROXY_HOSTS, tls: true }),
    "a SOCKS5 proxy": await startSocksProxy("socks5", PROXY_HOSTS),
    "a SOCKS4 proxy": await startSocksProxy("socks4", PROXY_HOSTS),
  };
  const transports: RoutingTransport[] = [];
  return {
    receiver,
    tlsPort: (tlsReceiver.address() as AddressInfo).port,
    overTls,
    proxies,
    transport: (policy = {}, env = {}) => {
      const guard = new AddressGuard({ mode: "internal", allow: "", deny: "", own: NO_OWN_PLACES, ...policy });
      const transport = new RoutingTransport({ guard, tlsDirectory: folder, proxies: new ProxyChoice(env) });
      transports.push(transport);
      return transport;
    },
    close: async () => {
      await Promise.all(transports.map((transport) => transport.close()));
      await Promise.all(Object.values(proxies).map((proxy) => proxy[Symbol.asyncDispose]()));
      await receiver.close();
      tlsReceiver.closeAllConnections();
      tlsReceiver.close();
      await rm(folder, { recursive: true });
    },
  };
}

/** `partner` trusts the authority, `mutual` shows a certificate, too; the others cannot be used. */
async function writeProfiles(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "walhook-tls-"));
  const { authority, client, server } = CERTIFICATES;
  const files = {
    "partner.ca": authority,
    "mutual.ca": authority,
    "mutual.cert": client.cert,
    "mutual.key": client.key,
    "half.cert": client.cert,
    "broken.ca": "secret text",
    "swapped.cert": client.cert,
    "swapped.key": server.key,
  };
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, `${name}.pem`), text);
  return folder;
}

export const requestTo = (
  url: string,
  route: Partial<Route>,
  over: Partial<TransportRequest> = {},
): TransportRequest => ({
  url,
  method: "POST",
  headers: [["content-type", "application/json"]],
  body: Buffer.from('{"a":"é"}'),
  timeoutMs: 3_000,
  route: { ...PLAIN_ROUTE, ...route },
  ...over,
});
