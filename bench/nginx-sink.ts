import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { freePort } from "../demo/postgres.ts";
import { cpuSeconds } from "./process-facts.ts";
import type { SinkCount } from "./sink-process.ts";
import { sleep, until } from "./wait.ts";

/** Debian keeps it where only root looks. */
const PROGRAMS = ["nginx", "/usr/sbin/nginx"];
const FLUSHED_WITHIN_MS = 100;

/** nginx with one worker, which answers all with 200 and notes when. */
export class NginxSink {
  readonly url: string;
  readonly name: string;
  readonly #child: ChildProcess;
  readonly #folder: string;
  #offset = 0;

  private constructor(child: ChildProcess, folder: string, port: number, name: string) {
    this.#child = child;
    this.#folder = folder;
    this.url = `http://127.0.0.1:${port}`;
    this.name = name;
  }

  /** null where there is no nginx. */
  static async start(): Promise<NginxSink | null> {
    for (const program of PROGRAMS) {
      const version = await promisify(execFile)(program, ["-v"]).catch(() => null);
      if (version === null) continue;
      const folder = await mkdtemp(join(tmpdir(), "walhook-nginx-"));
      const port = await freePort();
      await writeFile(join(folder, "nginx.conf"), configuration(port));
      const child = spawn(program, ["-p", folder, "-c", "nginx.conf", "-e", "stderr"], { stdio: "ignore" });
      const name = /nginx\/[\d.]+/.exec(version.stderr)?.[0].replace("/", " ") ?? "nginx";
      const sink = new NginxSink(child, folder, port, name);
      await until("nginx", () => answers(port));
      return sink;
    }
    return null;
  }

  async count(): Promise<SinkCount> {
    await this.#flush();
    const log = await readFile(this.#logFile);
    const lines = log.toString("latin1", this.#offset).split("\n").slice(0, -1);
    const msOf = (line: string | undefined): number => Number(line?.split(" ")[0] ?? 0) * 1000;
    return {
      requests: lines.length,
      bytes: lines.reduce((sum, line) => sum + Number(line.split(" ")[1]), 0),
      firstAtMs: msOf(lines[0]),
      lastAtMs: msOf(lines.at(-1)),
      cpuSeconds: cpuSeconds(this.#child.pid ?? 0) ?? Number.NaN,
    };
  }

  async reset(): Promise<void> {
    await this.#flush();
    this.#offset = (await stat(this.#logFile)).size;
  }

  async close(): Promise<void> {
    const exit = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await exit;
    await rm(this.#folder, { recursive: true, force: true });
  }

  get #logFile(): string {
    return join(this.#folder, "arrivals.log");
  }

  /** Opening its files anew writes what it holds back. */
  async #flush(): Promise<void> {
    this.#child.kill("SIGUSR1");
    await sleep(FLUSHED_WITHIN_MS);
  }
}

function configuration(port: number): string {
  return `daemon off;
master_process off;
pid nginx.pid;
error_log stderr crit;
events { worker_connections 10000; }
http {
  log_format arrival '$msec $request_length';
  access_log arrivals.log arrival buffer=256k;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  client_max_body_size 0;
  keepalive_requests 1000000000;
  server {
    listen 127.0.0.1:${port} backlog=4096;
    location / { return 200 "ok"; }
  }
}
`;
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => resolve(true));
    socket.once("error", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });
}
