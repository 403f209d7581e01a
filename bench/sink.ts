import { NginxSink } from "./nginx-sink.ts";
import { NodeSink } from "./node-sink.ts";
import type { SinkCount } from "./sink-process.ts";

/** The cheapest endpoint there is here, in a process of its own: nginx where it is installed. */
export class Sink {
  readonly url: string;
  /** What it is, for the report. */
  readonly name: string;
  readonly #server: NginxSink | NodeSink;

  private constructor(server: NginxSink | NodeSink) {
    this.#server = server;
    this.url = server.url;
    this.name = server.name;
  }

  static async start(): Promise<Sink> {
    return new Sink((await NginxSink.start()) ?? (await NodeSink.start()));
  }

  /** Since the start or the last reset. */
  count(): Promise<SinkCount> {
    return this.#server.count();
  }

  reset(): Promise<void> {
    return this.#server.reset();
  }

  async close(): Promise<void> {
    await this.#server.close();
  }
}
