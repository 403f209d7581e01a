import { connect, createServer, type AddressInfo, type Socket } from "node:net";

/** A TCP relay before the server, as a slow network is. */
export interface Relay {
  /** `databaseUrl` by way of the relay. */
  readonly url: string;
  /** Keeps the next statement that has this text, or what is answered to it, back. */
  hold(text: string, side: "question" | "answer"): Held;
  close(): void;
  [Symbol.dispose](): void;
}

export interface Held {
  /** The statement has come by. */
  readonly isCaught: Promise<void>;
  release(): void;
}

interface Trap {
  readonly text: string;
  readonly side: "question" | "answer";
  readonly caught: () => void;
  readonly released: Promise<void>;
}

export async function startRelay(databaseUrl: string): Promise<Relay> {
  const url = new URL(databaseUrl);
  const upstreamPort = Number(url.port);
  const sockets = new Set<Socket>();
  let trap: Trap | null = null;
  const server = createServer((client) => {
    const upstream = connect(upstreamPort, "127.0.0.1");
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.setNoDelay(true);
    }
    client.on("close", () => upstream.destroy());
    upstream.on("close", () => client.destroy());
    let questions = Promise.resolve();
    let answers = Promise.resolve();
    client.on("data", (data) => {
      if (trap !== null && data.includes(trap.text)) {
        const { side, caught, released } = trap;
        trap = null;
        if (side === "answer") answers = answers.then(() => released);
        else questions = questions.then(() => released);
        caught();
      }
      questions = questions.then(() => void upstream.write(data));
    });
    upstream.on("data", (data) => {
      answers = answers.then(() => void client.write(data));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url.port = String((server.address() as AddressInfo).port);
  const close = (): void => {
    for (const socket of sockets) socket.destroy();
    server.close();
  };
  return {
    url: url.toString(),
    hold: (text, side) => {
      let caught = (): void => {};
      let release = (): void => {};
      const isCaught = new Promise<void>((resolve) => (caught = resolve));
      const released = new Promise<void>((resolve) => (release = resolve));
      trap = { text, side, caught, released };
      return { isCaught, release: () => release() };
    },
    close,
    [Symbol.dispose]: close,
  };
}
