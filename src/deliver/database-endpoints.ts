import { lookup } from "node:dns/promises";
import type { Socket } from "node:net";
import { networkInterfaces } from "node:os";
import pg from "pg";
import { connectionConfig } from "../db/connection.ts";
import type { OwnPlaces } from "./address-guard.ts";
import { isInRange, parseAddress, parseRange, type Address } from "./address-range.ts";

const LOOPBACK = [parseRange("127.0.0.0/8")!, parseRange("::1")!];
const DATABASE = "the source database";

/**
 * Where the source database is, so that no webhook speaks to it: the host and port of its connection strings, what the
 * host resolves to, and the peers of the connections that were made. Where it is on this machine, its port is refused
 * at each of the machine's addresses. (Walhook itself listens on no port.)
 */
export class DatabaseEndpoints implements OwnPlaces {
  readonly #hosts: readonly Place[];
  readonly #known = new Set<string>();
  /** Ports of this machine at which the database is. */
  readonly #localPorts = new Set<number>();
  #machine: ReadonlySet<string> = new Set();

  constructor(urls: readonly string[]) {
    this.#hosts = urls.flatMap((url) => placeOf(url) ?? []);
  }

  /** Looks the hosts up again. A host that does not resolve now is known by its name, and by its connections. */
  async refresh(): Promise<void> {
    this.#machine = new Set(
      Object.values(networkInterfaces())
        .flatMap((addresses) => addresses ?? [])
        .map(({ address }) => keyOf(parseAddress(address)!)),
    );
    for (const { host, port } of this.#hosts) {
      // The folder of a socket: it listens at this machine's port as well, or nobody does.
      if (host.startsWith("/")) this.#localPorts.add(port);
      else for (const { address } of await lookup(host, { all: true }).catch(() => [])) this.#add(address, port);
    }
  }

  /** Notes where a connection to the database has led. */
  notePeer(client: pg.ClientBase): void {
    // The driver's types leave it out. A socket file has neither.
    const { remoteAddress, remotePort } = (client as Connected).connection.stream;
    if (remoteAddress !== undefined && remotePort !== undefined) this.#add(remoteAddress, remotePort);
  }

  find(address: Address | null, name: string | null, port: number): string | null {
    if (name !== null && this.#hosts.some((place) => place.host === name && place.port === port)) return DATABASE;
    if (address === null) return null;
    if (this.#known.has(`${keyOf(address)} ${port}`)) return DATABASE;
    return this.#localPorts.has(port) && this.#isHere(address) ? DATABASE : null;
  }

  #add(text: string, port: number): void {
    const address = parseAddress(text);
    if (address === null) return;
    this.#known.add(`${keyOf(address)} ${port}`);
    if (this.#isHere(address)) this.#localPorts.add(port);
  }

  #isHere(address: Address): boolean {
    return LOOPBACK.some((range) => isInRange(address, range)) || this.#machine.has(keyOf(address));
  }
}

type Connected = pg.ClientBase & {
  readonly connection: { readonly stream: Pick<Socket, "remoteAddress" | "remotePort"> };
};

interface Place {
  readonly host: string;
  readonly port: number;
}

/** Host and port as the driver reads them from a connection string, `PGHOST` and `PGPORT`; null where it cannot, and so will not connect. */
function placeOf(url: string): Place | null {
  try {
    const { host, port } = new pg.Client(connectionConfig(url, "walhook"));
    return { host: host.toLowerCase().replace(/\.$/, ""), port };
  } catch {
    return null;
  }
}

function keyOf({ family, value }: Address): string {
  return `${family} ${value}`;
}
