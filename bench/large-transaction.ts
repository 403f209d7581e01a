import type { Report } from "./report.ts";
import type { Scenario, ScenarioContext } from "./scenario.ts";
import { Stage } from "./stage.ts";
import { sleep, until } from "./wait.ts";

const ONE_IN = 1000;

/** A transaction of millions of rows, and a kill -9 in its middle. */
export const largeTransaction: Scenario = {
  name: "large-transaction",
  summary: "one transaction of millions of rows, few of them delivered and then all, with a kill -9 in its middle",
  options: {
    rows: { help: "rows of the transaction of which 1 in 1,000 is delivered", full: 10_000_000, quick: 200_000 },
    all: { help: "rows of the transaction of which all are delivered", full: 1_000_000, quick: 20_000 },
  },
  isOnlyByName: true,
  run: async (context) => {
    const few = await measure(context, context.option("rows"), ONE_IN);
    const all = await measure(context, context.option("all"), 1);
    return {
      tables: [
        {
          title: "one transaction, killed with SIGKILL when half of its deliveries had come, started again at once",
          columns: [
            "rows",
            "deliveries",
            "rows/s to the kill",
            "restart to next (s)",
            "rows/s to the end",
            "sent twice",
            "RSS max (MB)",
          ],
          rows: [few, all].map((run) => run.cells),
        },
      ],
      goals: [few, all].flatMap((run) => run.goals),
    };
  },
};

interface Run {
  readonly cells: readonly (number | null)[];
  readonly goals: Report["goals"];
}

async function measure({ cli, note }: ScenarioContext, rows: number, oneIn: number): Promise<Run> {
  await using stage = await Stage.open(cli);
  const receiver = await stage.receiver();
  await stage.app("create table measurement (id bigint primary key, n integer not null, note text)");
  await stage.admin(
    `insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url, condition)
     values ('measurement', 'measurement', 'after_insert', '${receiver.url}/', 'doc.id % ${oneIn} = 0')`,
  );
  const first = stage.bridge();
  await first.running();
  note(`writing ${rows} rows in one transaction`);
  await stage.app(`insert into measurement select i, 0, 'measurement number ' || i from generate_series(1, ${rows}) i`);
  const committedAtMs = Date.now();
  const expected = Math.floor(rows / oneIn);
  const started = await until("the first delivery", async () => (await receiver.tally()).firstAtMs, {
    withinMs: 600_000,
  });
  note(`first delivery ${((started - committedAtMs) / 1000).toFixed(1)} s after the commit`);
  await until("half of the deliveries", async () => (await receiver.tally()).requests >= expected / 2, {
    withinMs: 1_800_000,
  });
  const firstPeakMb = first.peakResidentMb;
  await first.kill();
  const killedAtMs = Date.now();
  await sleep(200);
  const beforeKill = await receiver.tally();
  const stored = await stage.number("select count(*) from walhook.webhook_request_log");
  note(`killed after ${beforeKill.requests} deliveries, ${stored} of them in the log`);
  await receiver.reset();
  const second = stage.bridge();
  await until("the end", async () => (await receiver.tally()).distinct >= expected, { withinMs: 1_800_000 });
  const afterKill = await receiver.tally();
  await stage.caughtUp();
  const logged = await stage.number("select count(*) from walhook.webhook_request_log where outcome = 'delivered'");
  const secondPeakMb = second.peakResidentMb;
  await second.stop();
  const resumedAtMs = afterKill.firstAtMs ?? Number.NaN;
  const beforeSeconds = (killedAtMs - started) / 1000;
  const afterSeconds = ((afterKill.lastAtMs ?? 0) - resumedAtMs) / 1000;
  const handled = beforeKill.requests * oneIn;
  return {
    cells: [
      rows,
      expected,
      handled / beforeSeconds,
      (resumedAtMs - killedAtMs) / 1000,
      (afterKill.requests * oneIn) / afterSeconds,
      afterKill.repeated,
      Math.max(firstPeakMb, secondPeakMb),
    ],
    goals: [
      {
        what: `${rows} rows: goes on from the cursor`,
        goal: "fewer sent twice than 5,000",
        measured: `${afterKill.repeated} sent twice of ${beforeKill.requests} before the kill`,
        isMet: afterKill.repeated < 5000 && afterKill.repeated < beforeKill.requests,
      },
      {
        what: `${rows} rows: each delivery logged as delivered once`,
        goal: String(expected),
        measured: String(logged),
        isMet: logged === expected,
      },
    ],
  };
}
