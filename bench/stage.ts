import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import pg from "pg";
import { type PostgresServer, startPostgres } from "../demo/postgres.ts";
import { Bridge } from "./bridge.ts";
import { ROLE_PASSWORD, useGivenServer } from "./given-server.ts";
import { LagWatch } from "./lag-watch.ts";
import { childrenCpuSeconds, offspringCpuSeconds } from "./process-facts.ts";
import { Receiver } from "./receiver.ts";
import { until } from "./wait.ts";
import { Writer, type WriterOrder } from "./writer.ts";

const run = promisify(execFile);

/** Roles that are no superusers: who owns the tables, who writes webhooks, who the bridge is. */
const ROLES = `
  create role bench_app login password '${ROLE_PASSWORD}';
  create role bench_admin login password '${ROLE_PASSWORD}';
  create role bench_bridge login replication password '${ROLE_PASSWORD}';
  create database bench owner bench_app`;
const GRANTS = `
  grant bench_app to walhook_owner;
  grant walhook_bridge to bench_bridge;
  grant walhook_admin to bench_admin;
  grant create on database bench to bench_admin;
  grant usage on schema public to bench_admin;
  alter default privileges for role bench_app grant select on tables to bench_admin`;

export interface StageOptions {
  /** Folder with the `bin/` of another PostgreSQL than the npm package's. */
  readonly nativeDir?: string;
  /** false: a database without Walhook. */
  readonly hasWalhook?: boolean;
}

type Rows = readonly Record<string, unknown>[];

/** A PostgreSQL of the scenario's own with default settings, Walhook installed, and all that runs around it. */
export class Stage {
  readonly server: PostgresServer;
  /** The server's version. */
  readonly version: string;
  readonly #cli: string;
  readonly #folder: string;
  readonly #looker: pg.Client;
  readonly #closers: (() => unknown)[] = [];
  static readonly #open = new Set<Stage>();
  static #givenUrl: string | null = null;

  private constructor(server: PostgresServer, folder: string, cli: string, looker: pg.Client, version: string) {
    this.server = server;
    this.version = version;
    this.#cli = cli;
    this.#folder = folder;
    this.#looker = looker;
  }

  static async open(
    cli: string,
    settings: readonly string[] = [],
    { nativeDir, hasWalhook = true }: StageOptions = {},
  ): Promise<Stage> {
    const folder = await mkdtemp(join(tmpdir(), "walhook-bench-"));
    await chmod(folder, 0o755);
    const server =
      Stage.#givenUrl === null
        ? await startPostgres({
            dataDir: join(folder, "data"),
            settings,
            ...(nativeDir === undefined ? {} : { nativeDir }),
          })
        : await useGivenServer(Stage.#givenUrl);
    for (const statement of ROLES.split(";")) await once(server.url("postgres"), statement);
    if (hasWalhook) {
      await run(process.execPath, [cli, "install"], { env: { ...process.env, DATABASE_URL: server.url("bench") } });
      await once(server.url("bench"), GRANTS);
    }
    const looker = await connect(server.url("bench"));
    const { rows } = await looker.query<{ version: string }>("select current_setting('server_version') as version");
    const stage = new Stage(server, folder, cli, looker, rows[0]?.version ?? "");
    Stage.#open.add(stage);
    return stage;
  }

  /** From now on, instead of a server of each stage's own; its settings are its owner's. */
  static useServer(url: string): void {
    Stage.#givenUrl = url;
  }

  /** Ends all that runs, as on Ctrl-C. */
  static async closeAll(): Promise<void> {
    await Promise.all([...Stage.#open].map((stage) => stage.close()));
  }

  /** As superuser, to look and to prepare. */
  async look(sql: string, params: readonly unknown[] = []): Promise<Rows> {
    return (await this.#looker.query(sql, [...params])).rows as Rows;
  }

  /** One number of one row. */
  async number(sql: string, params: readonly unknown[] = []): Promise<number> {
    const [row] = await this.look(sql, params);
    return Number(Object.values(row ?? {})[0]);
  }

  /** Statements as the owner of the application's tables. */
  async app(sql: string): Promise<void> {
    await once(this.server.url("bench", "bench_app"), sql);
  }

  /** Statements as who writes webhooks. */
  async admin(sql: string): Promise<void> {
    await once(this.server.url("bench", "bench_admin"), sql);
  }

  async receiver(): Promise<Receiver> {
    const receiver = await Receiver.start();
    this.#closers.push(() => receiver.close());
    return receiver;
  }

  async writer(order: Omit<WriterOrder, "url">): Promise<Writer> {
    const writer = await Writer.start({ ...order, url: this.server.url("bench", "bench_app") });
    this.#closers.push(() => writer.kill());
    return writer;
  }

  /** Starts `walhook run` as its own role and returns at once. */
  bridge(flags: readonly string[] = [], replicationUrl = ""): Bridge {
    const url = this.server.url("bench", "bench_bridge");
    const logFile = join(this.#folder, "bridge.log");
    const bridge = new Bridge({ cli: this.#cli, url, replicationUrl, flags, logFile });
    this.#closers.push(() => bridge.kill());
    return bridge;
  }

  async lagWatch(): Promise<LagWatch> {
    const watch = new LagWatch(await connect(this.server.url("bench")));
    this.#closers.push(() => watch.close());
    return watch;
  }

  /** Waits until the slot has been told of everything that is committed now. */
  async caughtUp(withinMs = 600_000): Promise<void> {
    const [row] = await this.look("select pg_current_wal_lsn()::text as lsn");
    const isDone = async (): Promise<boolean> => {
      const [slot] = await this.look(
        `select s.confirmed_flush_lsn >= $1::pg_lsn as done
         from pg_replication_slots s join walhook.bridge b on b.slot_name = s.slot_name`,
        [row?.["lsn"]],
      );
      return slot?.["done"] === true;
    };
    await until("the slot's progress", isDone, { withinMs });
  }

  /** Processor time of the server's processes that live now, in seconds. */
  get serverCpuSeconds(): number {
    return childrenCpuSeconds(this.#postmaster) ?? Number.NaN;
  }

  /** The same, with those of its processes that have ended. */
  get serverCpuSecondsEver(): number {
    return offspringCpuSeconds(this.#postmaster) ?? Number.NaN;
  }

  /** NaN where the server runs elsewhere. */
  get #postmaster(): number {
    const file = join(this.server.dataDir, "postmaster.pid");
    return existsSync(file) ? Number(readFileSync(file, "utf8").split("\n")[0]) : Number.NaN;
  }

  /** A folder for files; it goes with the stage. */
  get folder(): string {
    return this.#folder;
  }

  /** Something to end with the stage. */
  defer(close: () => unknown): void {
    this.#closers.push(close);
  }

  /** Where the bridges' log is; it goes with the stage. */
  get logFile(): string {
    return join(this.#folder, "bridge.log");
  }

  async close(): Promise<void> {
    Stage.#open.delete(this);
    for (const close of this.#closers.toReversed()) await close();
    await this.#looker.end().catch(() => {});
    await this.server.stop("immediate").catch(() => {});
    await rm(this.#folder, { recursive: true, force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

async function connect(connectionString: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString, application_name: "bench" });
  client.on("error", () => {});
  await client.connect();
  return client;
}

async function once(url: string, sql: string): Promise<void> {
  const client = await connect(url);
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}
