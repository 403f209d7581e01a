import pg from "pg";
import { median, percentile } from "./percentile.ts";
import type { Report } from "./report.ts";
import type { Scenario, ScenarioContext } from "./scenario.ts";
import { Stage } from "./stage.ts";

const WIDTHS = [100, 200_000] as const;
const IDENTITIES = ["default", "full"] as const;

/** What the old row in the WAL costs whoever updates; webhooks with `old` or `changed` need it. */
export const identity: Scenario = {
  name: "identity",
  summary:
    "UPDATE of one column with REPLICA IDENTITY DEFAULT and FULL, rows of 100 B and 200 kB: WAL, the writer's latency",
  options: {
    updates: { help: "updates of each measurement, one a transaction", full: 1000, quick: 50 },
    "identity-rounds": { help: "rounds, each of which measures all", full: 3, quick: 1 },
  },
  worksOnGivenServer: true,
  run: measure,
};

interface Cost {
  readonly walBytes: number;
  readonly p50: number;
  readonly p99: number;
}

async function measure(context: ScenarioContext): Promise<Report> {
  const updates = context.option("updates");
  await using stage = await Stage.open(context.cli, ["max_wal_size=4GB"]);
  for (const width of WIDTHS) {
    await stage.app(`create table t${width} (id integer primary key, n integer not null, note text);
      alter table t${width} alter note set storage external;
      insert into t${width} select i, 0, repeat('x', ${width}) from generate_series(1, 10) i`);
  }
  const client = new pg.Client({ connectionString: stage.server.url("bench", "bench_app") });
  await client.connect();
  stage.defer(() => client.end());
  const cases = WIDTHS.flatMap((width) => IDENTITIES.map((name) => ({ width, name })));
  const rounds = cases.map((): Cost[] => []);
  for (let round = 0; round < context.option("identity-rounds"); round++) {
    for (const [index, { width, name }] of cases.entries()) {
      await stage.app(`alter table t${width} replica identity ${name}`);
      // Whole pages that follow a checkpoint are written now, and not while it is measured.
      await stage.look("checkpoint");
      await update(client, width, 50);
      const before = await walBytes(stage);
      const latencies = await update(client, width, updates);
      const sorted = Float64Array.from(latencies).toSorted();
      rounds[index]?.push({
        walBytes: ((await walBytes(stage)) - before) / updates,
        p50: percentile(sorted, 0.5),
        p99: percentile(sorted, 0.99),
      });
    }
    context.note(`round ${round + 1}`);
  }
  return {
    tables: [
      {
        title: `UPDATE, PostgreSQL ${stage.version}, medians of ${rounds[0]?.length ?? 0} rounds of ${updates}; one writer, the text is not changed and not compressed`,
        columns: ["row", "replica identity", "WAL bytes an update", "p50 (ms)", "p99 (ms)"],
        rows: cases.map(({ width, name }, index) => {
          const of = (pick: (cost: Cost) => number): number => median((rounds[index] ?? []).map(pick));
          return [
            width === 100 ? "100 B" : "200 kB",
            name.toUpperCase(),
            Math.round(of((cost) => cost.walBytes)),
            of((cost) => cost.p50),
            of((cost) => cost.p99),
          ];
        }),
      },
    ],
    goals: [],
  };
}

/** Milliseconds that each of them took. */
async function update(client: pg.Client, width: number, times: number): Promise<readonly number[]> {
  const latencies: number[] = [];
  for (let i = 0; i < times; i++) {
    const startedAt = performance.now();
    await client.query(`update t${width} set n = n + 1 where id = $1`, [1 + (i % 10)]);
    latencies.push(performance.now() - startedAt);
  }
  return latencies;
}

function walBytes(stage: Stage): Promise<number> {
  return stage.number("select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')");
}
