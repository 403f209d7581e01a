import { percentile } from "../percentile.ts";
import type { Stage } from "../stage.ts";
import { sleep, until } from "../wait.ts";
import type { MarkedSink } from "./marked-sink.ts";
import type { RunningPeer } from "./peer.ts";
import { insertBurst, ONE_ROW } from "./workload.ts";

/** Nothing for so long: what has not come does not come any more. Longer than any retry or poll of a peer. */
const SILENCE_MS = 10_000;
const READY_WITHIN_MS = 120_000;
const WARM_UP_EVENTS = 500;
const STEADY_RATE = 50;

export interface TrialSize {
  /** Events of the burst. */
  readonly events: number;
  /** Events of the burst in whose middle the peer is killed. */
  readonly crashEvents: number;
  /** For how long 50 events a second are written. */
  readonly seconds: number;
}

export interface TrialResult {
  /** From the first to the last arrival of the burst. */
  readonly perSecond: number;
  /** Of the burst: events that never came, and arrivals of events that had come. */
  readonly lost: number;
  readonly repeated: number;
  /** Processor seconds for 100,000 events, of the peer's processes and of the server's; NaN: not known. */
  readonly peerCpu: number;
  readonly serverCpu: number;
  /** At 50 events a second, from the commit to the arrival of the whole request. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly steadyLost: number;
  /** Of the burst with the kill. */
  readonly crashLost: number;
  readonly crashRepeated: number;
}

/** What one running peer does with the same events as all others. The server must have `track_commit_timestamp`. */
export class Trial {
  readonly #stage: Stage;
  readonly #sink: MarkedSink;
  readonly #peer: RunningPeer;
  #next = 1;

  constructor(stage: Stage, sink: MarkedSink, peer: RunningPeer) {
    this.#stage = stage;
    this.#sink = sink;
    this.#peer = peer;
  }

  async run(size: TrialSize): Promise<TrialResult> {
    await this.#ready();
    return {
      ...(await this.#steady(size.seconds)),
      ...(await this.#burst(size.events)),
      ...(await this.#crash(size.crashEvents)),
    };
  }

  /** Waits until it works, and lets it send some more, so that what is compiled while it runs is compiled. */
  async #ready(): Promise<void> {
    await this.#sink.expect({ from: 0, to: 0 });
    await this.#works("the peer's first request");
    await insertBurst(this.#stage, this.#take(WARM_UP_EVENTS), WARM_UP_EVENTS);
    await this.#settled(Number.POSITIVE_INFINITY, 3000);
  }

  /** Inserts rows that do not count, until one arrives. */
  async #works(what: string): Promise<void> {
    const hasArrived = async (): Promise<boolean> => {
      const reason = this.#peer.ended();
      if (reason !== null) throw new Error(reason);
      await insertBurst(this.#stage, this.#take(1), 1);
      return (await this.#sink.count()).later > 0;
    };
    await until(what, hasArrived, { withinMs: READY_WITHIN_MS, everyMs: 300 });
  }

  async #steady(seconds: number): Promise<Pick<TrialResult, "p50Ms" | "p99Ms" | "steadyLost">> {
    const from = this.#next;
    await this.#sink.expect({ from, to: Number.MAX_SAFE_INTEGER });
    const writer = await this.#stage.writer({ rate: STEADY_RATE, statements: [ONE_ROW], from });
    await sleep(seconds * 1000);
    const { committed } = await writer.stop();
    this.#take(committed);
    await this.#settled(committed);
    const rows = await this.#stage.look(
      `select id, extract(epoch from pg_xact_commit_timestamp(xmin)) * 1000 as at_ms
       from event where id >= ${from} and id < ${from + committed}`,
    );
    const committedAtMs = new Map(rows.map((row) => [Number(row["id"]), Number(row["at_ms"])]));
    const arrivals = await this.#sink.arrivals();
    const latencies = Float64Array.from(
      arrivals.map(([number, atMs]) => atMs - (committedAtMs.get(number) ?? Number.NaN)),
    ).toSorted();
    return {
      p50Ms: percentile(latencies, 0.5),
      p99Ms: percentile(latencies, 0.99),
      steadyLost: committed - arrivals.length,
    };
  }

  async #burst(
    events: number,
  ): Promise<Pick<TrialResult, "perSecond" | "lost" | "repeated" | "peerCpu" | "serverCpu">> {
    await this.#sink.expect({ from: this.#next, to: this.#next + events });
    const peerBefore = this.#peer.cpuSeconds() ?? Number.NaN;
    const serverBefore = this.#stage.serverCpuSecondsEver;
    await insertBurst(this.#stage, this.#take(events), events);
    const { distinct, repeated } = await this.#settled(events);
    const arrivals = await this.#sink.arrivals();
    const span = ((arrivals.at(-1)?.[1] ?? 0) - (arrivals[0]?.[1] ?? 0)) / 1000;
    const per100k = (seconds: number): number => (seconds / events) * 100_000;
    return {
      perSecond: distinct / span,
      lost: events - distinct,
      repeated,
      peerCpu: per100k((this.#peer.cpuSeconds() ?? Number.NaN) - peerBefore),
      serverCpu: per100k(this.#stage.serverCpuSecondsEver - serverBefore),
    };
  }

  /** All events are committed before; the peer dies when about half of them have come. */
  async #crash(events: number): Promise<Pick<TrialResult, "crashLost" | "crashRepeated">> {
    await this.#sink.expect({ from: this.#next, to: this.#next + events });
    await insertBurst(this.#stage, this.#take(events), events);
    const isHalfThere = async (): Promise<boolean> => (await this.#sink.count()).distinct >= events / 2;
    await until("half of the events", isHalfThere, { everyMs: 5 });
    await this.#peer.crash();
    await this.#works("the peer's first new request after the kill");
    const { distinct, repeated } = await this.#settled(events);
    return { crashLost: events - distinct, crashRepeated: repeated };
  }

  #take(events: number): number {
    const from = this.#next;
    this.#next += events;
    return from;
  }

  /** Waits until all events have come, or nothing has for so long. */
  async #settled(
    events: number,
    silenceMs = SILENCE_MS,
  ): Promise<{ readonly distinct: number; readonly repeated: number }> {
    let count = await this.#sink.count();
    for (let newsAtMs = Date.now(); count.distinct < events && Date.now() - newsAtMs < silenceMs;) {
      await sleep(50);
      const now = await this.#sink.count();
      if (now.requests > count.requests) newsAtMs = Date.now();
      count = now;
    }
    return count;
  }
}
