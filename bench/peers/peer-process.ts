import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { openSync } from "node:fs";
import { join } from "node:path";
import { cpuSeconds } from "../process-facts.ts";
import type { RunningPeer } from "./peer.ts";
import type { Stage } from "../stage.ts";

/** Where it prints, in the stage's folder. */
export const PEER_LOG = "peer.log";

export interface PeerCommand {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

/** A peer that is one process. What it prints goes to a file in the stage's folder; it ends with the stage. */
export class PeerProcess implements RunningPeer {
  readonly #start: () => ChildProcess;
  #child: ChildProcess;

  constructor(stage: Stage, { command, args, env = {}, cwd = stage.folder }: PeerCommand) {
    const log = openSync(join(stage.folder, PEER_LOG), "a");
    this.#start = () =>
      spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio: ["ignore", log, log] }).on("error", () => {});
    this.#child = this.#start();
    stage.defer(() => this.#kill());
  }

  readonly cpuSeconds = (): number | null => cpuSeconds(this.#child.pid ?? 0);

  readonly ended = (): string | null => {
    const { exitCode, signalCode } = this.#child;
    return exitCode === null && signalCode === null ? null : `it ended by itself (${exitCode ?? signalCode})`;
  };

  readonly crash = async (): Promise<void> => {
    await this.#kill();
    this.#child = this.#start();
  };

  async #kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null || this.#child.pid === undefined) return;
    this.#child.kill("SIGKILL");
    await once(this.#child, "exit");
  }
}
