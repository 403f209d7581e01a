import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { Stage } from "./stage.ts";

const PROCESS = fileURLToPath(new URL("./decoder-process.js", import.meta.url));

export interface DecoderOrder {
  /** The command line beside whose modules it takes its own. */
  readonly cli: string;
  readonly url: string;
  readonly slotName: string;
  readonly publicationNames: readonly string[];
  /** The result is told once all before it has been read; null: it reads on until it is stopped. */
  readonly untilLsn: string | null;
  /** Where each insert is posted to; null: it is counted only. */
  readonly postTo: string | null;
}

export interface DecoderResult {
  readonly changes: number;
  /** When the first frame came and the last change was decoded, in ms since 1970. */
  readonly firstAtMs: number;
  readonly lastAtMs: number;
  readonly cpuSeconds: number;
  /** The most resident memory it had, in MB. */
  readonly maxMb: number;
}

/** The ceiling of reading: a decoder in a process of its own, on a slot of its own at the bridge's place. */
export class Decoder {
  readonly pid: number;
  readonly #child: ChildProcess;
  readonly #result: Promise<DecoderResult>;

  private constructor(child: ChildProcess) {
    this.pid = child.pid ?? 0;
    this.#child = child;
    this.#result = new Promise((resolve, reject) => {
      child.on("message", (message: "ready" | DecoderResult) => {
        if (message !== "ready") resolve(message);
      });
      child.once("exit", () => reject(new Error("the decoder ended before it had read all")));
    });
    this.#result.catch(() => {});
  }

  /** Resolves once it streams. */
  static async start(order: Omit<DecoderOrder, "publicationNames">): Promise<Decoder> {
    const publicationNames = ["walhook_insert", "walhook_all"];
    const child = fork(PROCESS, [JSON.stringify({ ...order, publicationNames })]);
    const decoder = new Decoder(child);
    const first = await Promise.race([once(child, "message"), once(child, "exit")]);
    if (first[0] !== "ready") throw new Error("the decoder did not start");
    return decoder;
  }

  /** What it had read at `untilLsn`. */
  get result(): Promise<DecoderResult> {
    return this.#result;
  }

  /** Ends it in order, so that its slot is free. */
  async stop(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const exit = once(this.#child, "exit");
    this.#child.send("stop");
    await exit;
  }
}

/** Reads what is in the WAL now from where the bridge's slot stands, counts it, and leaves the bridge's slot as it is. */
export async function decodeAlone(stage: Stage, cli: string): Promise<DecoderResult> {
  const slotName = await copyOfSlot(stage);
  const [row] = await stage.look("select pg_current_wal_lsn()::text as lsn");
  const decoder = await Decoder.start({
    cli,
    url: stage.server.url("bench", "bench_bridge"),
    slotName,
    untilLsn: String(row?.["lsn"]),
    postTo: null,
  });
  try {
    return await decoder.result;
  } finally {
    await decoder.stop();
    await stage.look("select pg_drop_replication_slot($1)", [slotName]);
  }
}

/** A second slot at the place of the bridge's own, which nobody may be streaming; its name. */
export async function copyOfSlot(stage: Stage): Promise<string> {
  const name = "bench_decoder";
  await stage.look("select pg_copy_logical_replication_slot(slot_name, $1) from walhook.bridge", [name]);
  return name;
}
