import { connect, createServer, type AddressInfo, type Socket } from "node:net";

/**
 * Stands between a bridge and its server and counts the messages of replication:
 * https://www.postgresql.org/docs/current/protocol-replication.html
 */
export class WireTap {
  readonly port: number;
  /** Keepalives from the server. */
  keepalives = 0;
  /** Status updates from the bridge. */
  statusUpdates = 0;
  /** Messages with WAL data. */
  data = 0;
  readonly #close: () => void;

  private constructor(port: number, close: () => void) {
    this.port = port;
    this.#close = close;
  }

  static async start(serverPort: number): Promise<WireTap> {
    const sockets = new Set<Socket>();
    let tap: WireTap | null = null;
    const server = createServer((client) => {
      const upstream = connect(serverPort, "127.0.0.1");
      for (const socket of [client, upstream]) {
        sockets.add(socket);
        socket.on("error", () => {});
        socket.once("close", () => {
          client.destroy();
          upstream.destroy();
        });
      }
      // The first message of a client has no type byte.
      const fromClient = new MessageReader(true, (kind) => tap?.count(kind));
      const fromServer = new MessageReader(false, (kind) => tap?.count(kind));
      client.on("data", (bytes) => fromClient.read(bytes));
      upstream.on("data", (bytes) => fromServer.read(bytes));
      client.pipe(upstream);
      upstream.pipe(client);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    tap = new WireTap((server.address() as AddressInfo).port, () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    });
    return tap;
  }

  count(kind: string): void {
    if (kind === "k") this.keepalives++;
    else if (kind === "r") this.statusUpdates++;
    else if (kind === "w") this.data++;
  }

  close(): void {
    this.#close();
  }
}

const COPY_DATA = "d".charCodeAt(0);

/** Finds the first byte of each CopyData message, however the bytes arrive. */
class MessageReader {
  readonly #onCopyData: (kind: string) => void;
  #isStartup: boolean;
  #header: number[] = [];
  #left = 0;

  constructor(isStartup: boolean, onCopyData: (kind: string) => void) {
    this.#isStartup = isStartup;
    this.#onCopyData = onCopyData;
  }

  read(bytes: Buffer): void {
    let at = 0;
    while (at < bytes.length) {
      if (this.#left > 0) {
        const taken = Math.min(this.#left, bytes.length - at);
        this.#left -= taken;
        at += taken;
        continue;
      }
      this.#header.push(bytes[at++] ?? 0);
      this.#understand();
    }
  }

  /** Type (not at the start), length of four bytes that counts itself, and of CopyData its first byte. */
  #understand(): void {
    const typeBytes = this.#isStartup ? 0 : 1;
    const header = this.#header;
    if (header.length < typeBytes + 4) return;
    const length = Buffer.from(header).readUInt32BE(typeBytes) - 4;
    const isCopyData = !this.#isStartup && header[0] === COPY_DATA;
    if (isCopyData && length > 0 && header.length === 5) return;
    if (isCopyData && length > 0) this.#onCopyData(String.fromCharCode(header[5] ?? 0));
    this.#left = length - (header.length - typeBytes - 4);
    this.#isStartup = false;
    this.#header = [];
  }
}
