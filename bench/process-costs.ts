import { cpuSeconds } from "./process-facts.ts";
import type { Stage } from "./stage.ts";

/** Processor seconds of each kind of the server's processes. */
export type ServerCosts = ReadonlyMap<string, number>;

interface Seen {
  readonly kind: string;
  readonly seconds: number;
}

/** What each kind of the server's processes takes between two looks; the kinds are known by what they call themselves. */
export class ServerCostWatch {
  readonly #stage: Stage;
  readonly #before: ReadonlyMap<number, Seen>;

  private constructor(stage: Stage, before: ReadonlyMap<number, Seen>) {
    this.#stage = stage;
    this.#before = before;
  }

  static async start(stage: Stage): Promise<ServerCostWatch> {
    return new ServerCostWatch(stage, await look(stage));
  }

  /** Since the start, of those that live now; the benchmark's own are left out. */
  async take(): Promise<ServerCosts> {
    const costs = new Map<string, number>();
    for (const [pid, { kind, seconds }] of await look(this.#stage)) {
      costs.set(kind, (costs.get(kind) ?? 0) + seconds - (this.#before.get(pid)?.seconds ?? 0));
    }
    return costs;
  }
}

async function look(stage: Stage): Promise<ReadonlyMap<number, Seen>> {
  const rows = await stage.look(
    `select pid, case
        when backend_type = 'walsender' then 'walsender'
        when backend_type = 'client backend' then 'backend: ' || application_name
        else 'background' end as kind
     from pg_stat_activity where pid <> pg_backend_pid() and application_name not like 'bench%'`,
  );
  return new Map(
    rows.map(({ pid, kind }) => [Number(pid), { kind: String(kind), seconds: cpuSeconds(Number(pid)) ?? 0 }]),
  );
}
