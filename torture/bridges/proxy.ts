import { type Socket, connect, createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/** How the network behaves between the bridge and the database. */
export type Network = "well" | "late" | "dribble";

const LATENCY_MS = 200;
const DRIBBLE_BYTES = 3;

/** A TCP proxy in front of the server that can behave as badly as a network. */
export interface Proxy {
  readonly port: number;
  /** From now on: `late` takes 200 ms in each direction, `dribble` passes few bytes at a time. */
  behave(network: Network): void;
  /** From now on the present connections, or those for replication, pass nothing and are not closed: half-open. New ones work. */
  abandon(which?: "all" | "replication"): void;
  /** Resets all connections. */
  cut(): void;
  close(): Promise<void>;
}

/** The two halves of a connection. */
interface Pair {
  readonly sockets: readonly [Socket, Socket];
  isDead: boolean;
  isReplication: boolean;
}

export async function startProxy(targetPort: number): Promise<Proxy> {
  const pairs = new Set<Pair>();
  let network: Network = "well";

  const server = createServer({ noDelay: true }, (client) => {
    const upstream = connect({ port: targetPort, host: "127.0.0.1", noDelay: true });
    const pair: Pair = { sockets: [client, upstream], isDead: false, isReplication: false };
    pairs.add(pair);
    // The first message names what the connection is for.
    client.once("data", (startup) => (pair.isReplication = startup.includes("\0replication\0")));
    join(client, upstream, pair);
    join(upstream, client, pair);
  });

  function join(from: Socket, to: Socket, pair: Pair): void {
    // In the order of arrival, however long each takes.
    let passing = Promise.resolve();
    from.on("error", () => {});
    from.on("data", (bytes) => {
      const arrivedAt = performance.now();
      from.pause();
      passing = passing.then(() => pass(bytes, to, pair, arrivedAt)).finally(() => from.resume());
    });
    from.on("close", () => {
      // What a dead connection swallows stays swallowed, its end too.
      if (!pair.isDead) void passing.finally(() => to.destroy());
      if (pair.sockets.every((socket) => socket.destroyed)) pairs.delete(pair);
    });
  }

  async function pass(bytes: Buffer, to: Socket, pair: Pair, arrivedAt: number): Promise<void> {
    if (network === "late") await sleep(Math.max(0, LATENCY_MS - (performance.now() - arrivedAt)));
    if (pair.isDead || to.destroyed) return;
    if (network !== "dribble") {
      to.write(bytes);
      return;
    }
    for (let at = 0; at < bytes.length && !pair.isDead; at += DRIBBLE_BYTES) {
      to.write(bytes.subarray(at, at + DRIBBLE_BYTES));
      if (network === "dribble") await new Promise(setImmediate);
    }
  }

  const cut = (): void => {
    for (const { sockets } of pairs) for (const socket of sockets) socket.resetAndDestroy();
  };
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  return {
    port: (server.address() as { port: number }).port,
    behave: (as) => {
      network = as;
    },
    abandon: (which = "all") => {
      for (const pair of pairs) if (which === "all" || pair.isReplication) pair.isDead = true;
    },
    cut,
    close: async () => {
      cut();
      await new Promise((resolve) => {
        server.close(resolve);
      });
    },
  };
}
