import { type DecoderResult, decodeAlone } from "./decoder.ts";
import { median } from "./percentile.ts";
import type { Cell, Goal, Report } from "./report.ts";
import type { Scenario, ScenarioContext } from "./scenario.ts";
import { Stage } from "./stage.ts";
import { sleep } from "./wait.ts";

/** Bytes of a row's text. */
const WIDTHS = [100, 1000, 10_000, 100_000] as const;
/** Memory is flat where the widest rows and the largest transactions take at most so much more than the smallest. */
const FLAT_MB = 200;

/** Wide rows and large transactions, against the decoder alone on the same WAL. */
export const widths: Scenario = {
  name: "widths",
  summary: "rows of 100 B to 100 kB, transactions of 1 to 1,000,000 rows, 1 % delivered; beside it the decoder alone",
  options: {
    "width-mb": { help: "MB of rows for each width", full: 10, quick: 1 },
    "width-rows": {
      help: "rows of the largest transaction",
      full: 1_000_000,
      quick: 50_000,
    },
    "width-rounds": { help: "rounds, each of which measures all", full: 3, quick: 1 },
  },
  worksOnGivenServer: true,
  run: measure,
};

interface Case {
  readonly name: string;
  readonly rows: number;
  readonly width: number;
  readonly rowsATransaction: number;
}

interface Round {
  readonly seconds: number;
  readonly maxMb: number;
  readonly alone: DecoderResult;
}

async function measure(context: ScenarioContext): Promise<Report> {
  await using stage = await Stage.open(context.cli, ["max_wal_size=4GB"]);
  const receiver = await stage.receiver();
  await stage.app(`create table event (id bigint primary key, note text);
    alter table event alter note set storage external`);
  // Only writing is quicker for it.
  await stage.look("alter role bench_app set synchronous_commit = off");
  await stage.admin(`insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url, condition)
    values ('w', 'event', 'after_insert', '${receiver.url}/', 'doc.id % 100 = 0')`);
  const cases = casesOf(context.option("width-mb") * 1e6, context.option("width-rows"));
  const rounds = cases.map((): Round[] => []);
  for (let round = 0; round < context.option("width-rounds"); round++) {
    for (const [index, one] of cases.entries()) {
      await write(stage, one);
      const alone = await decodeAlone(stage, context.cli);
      const { seconds, maxMb } = await read(stage);
      rounds[index]?.push({ seconds, maxMb, alone });
      context.note(
        `round ${round + 1}, ${one.name}: ${Math.round(one.rows / seconds)}/s, decoder alone ${Math.round(one.rows / secondsOf(alone))}/s`,
      );
    }
  }
  return report(cases, rounds, stage.version);
}

function casesOf(bytes: number, rows: number): readonly Case[] {
  return [
    ...WIDTHS.map((width) => ({
      name: `rows of ${width} B, 100 a transaction`,
      rows: Math.max(100, Math.round(bytes / width / 100) * 100),
      width,
      rowsATransaction: 100,
    })),
    // Commits are what takes long there, for the application as well.
    { name: "1 row a transaction", rows: rows / 50, width: 100, rowsATransaction: 1 },
    { name: "1,000 rows a transaction", rows: rows / 10, width: 100, rowsATransaction: 1000 },
    { name: `${rows.toLocaleString("en")} rows in one transaction`, rows, width: 100, rowsATransaction: rows },
  ];
}

async function write(stage: Stage, { rows, width, rowsATransaction }: Case): Promise<void> {
  await stage.app("truncate event");
  await stage.app(`do $$ begin
    for part in 0..${Math.ceil(rows / rowsATransaction) - 1} loop
      insert into event select part * ${rowsATransaction} + i, repeat('x', ${width})
        from generate_series(1, ${rowsATransaction}) i;
      commit;
    end loop; end $$`);
}

/** From the first sight of the slot being read to its end; the bridge's own start is left out. */
async function read(stage: Stage): Promise<{ readonly seconds: number; readonly maxMb: number }> {
  const bridge = stage.bridge();
  await bridge.running();
  const startedAt = performance.now();
  await stage.caughtUp();
  const seconds = (performance.now() - startedAt) / 1000;
  const maxMb = bridge.peakResidentMb;
  await bridge.stop();
  // Its connection to the slot ends a little later.
  await sleep(200);
  return { seconds, maxMb };
}

function secondsOf({ firstAtMs, lastAtMs }: DecoderResult): number {
  return (lastAtMs - firstAtMs) / 1000;
}

function report(cases: readonly Case[], rounds: readonly (readonly Round[])[], version: string): Report {
  const rows = cases.map((one, index): readonly Cell[] => {
    const of = (pick: (round: Round) => number): number => median((rounds[index] ?? []).map(pick));
    const perSecond = of((round) => one.rows / round.seconds);
    const alone = of((round) => one.rows / secondsOf(round.alone));
    const megabytes = one.width / 1e6;
    return [
      one.name,
      one.rows,
      perSecond,
      perSecond * megabytes,
      of((round) => round.maxMb),
      alone,
      alone * megabytes,
      of((round) => round.alone.maxMb),
      of((round) => secondsOf(round.alone) / round.seconds),
    ];
  });
  const memory = rows.map((cells) => Number(cells[4]));
  const spread = Math.max(...memory) - Math.min(...memory);
  const goals: Goal[] = [
    {
      what: "memory from the smallest rows and transactions to the largest",
      goal: `flat: at most ${FLAT_MB} MB more`,
      measured: `${Math.min(...memory).toFixed(0)} to ${Math.max(...memory).toFixed(0)} MB`,
      isMet: spread <= FLAT_MB,
    },
  ];
  return {
    tables: [
      {
        title: `rows and transactions, PostgreSQL ${version}, medians of ${rounds[0]?.length ?? 0} rounds`,
        columns: [
          "what",
          "rows",
          "rows/s",
          "MB/s",
          "peak RSS (MB)",
          "decoder rows/s",
          "decoder MB/s",
          "decoder peak RSS (MB)",
          "ratio",
        ],
        rows,
      },
    ],
    goals,
  };
}
