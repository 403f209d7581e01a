import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startSystem, type System } from "../support/system.ts";

let system: System;
beforeAll(async () => {
  system = await startSystem("rollup");
  await system.app("create table orders (id int primary key, total int)");
  await system.webhook("good", "orders", "after_insert");
  // Few: its breaker lets one at a time through.
  await system.webhook("bad", "orders", "after_insert", {
    request_url: "http://127.0.0.1:9/",
    retry_schedule: "{}",
    condition: "doc.id % 10 = 0",
  });
});
afterAll(() => system.drop());

const KEY = "minute, webhook_id, outcome, error_class, host";
const FROM_LOG = `
  select date_trunc('minute', sent_at) as minute, webhook_id, outcome, coalesce(error_class, '') as error_class,
         coalesce(substring(url from '//([^/]+)'), '') as host, count(*)::int as log_rows, coalesce(sum(request_bytes), 0)::int as bytes
    from walhook.webhook_request_log group by 1, 2, 3, 4, 5 order by 1, 2, 3, 4, 5`;
const FROM_ROLLUP = `
  select ${KEY}, sum(log_rows)::int as log_rows, sum(request_bytes)::int as bytes
    from walhook.webhook_rollup group by 1, 2, 3, 4, 5 order by 1, 2, 3, 4, 5`;

describe("the rollup", () => {
  it("counts what the log has, also over a bridge that is taken over in the middle, and before and after merging", async () => {
    const first = await system.startBridge();
    await system.app("insert into orders select n, n from generate_series(1, 500) n");
    await eventually(async () => (await system.look("select from walhook.webhook_request_log limit 1")).length === 1);
    // Takes the slot away: the first one's open checkpoint is fenced or done, never half.
    await system.look(
      "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'walhook%' and datname = current_database()",
    );
    await system.app("insert into orders select n, n from generate_series(501, 700) n");
    await system.settled();
    await first.stop();
    const log = await system.look(FROM_LOG);
    expect(log.reduce((sum, row) => sum + Number(row["log_rows"]), 0)).toBeGreaterThanOrEqual(770);
    expect(await system.look(FROM_ROLLUP)).toEqual(log);
    const { rows } = await system.db.queryAs(system.roles.bridge, "select walhook.merge_rollup()::int as merged");
    expect(rows).not.toEqual([{ merged: 0 }]);
    expect(await system.look("select from walhook.rollup_part")).toEqual([]);
    expect(await system.look(FROM_ROLLUP)).toEqual(log);
    expect(await system.look(`select from walhook.rollup_minute group by ${KEY} having count(*) > 1`)).toEqual([]);
  });

  it("counts what is cancelled: of a webhook that is paused, of dead letters, and of one that is deleted", async () => {
    await system.webhook("paused", "orders", "after_insert");
    await system.webhook("deleted", "orders", "after_insert");
    await using _ = await system.startBridge();
    await system.admin("select walhook.pause('paused'), walhook.pause('deleted')");
    await system.app("insert into orders select n, n from generate_series(801, 830) n");
    const waiting = async (): Promise<number> =>
      (await system.look("select from walhook.webhook_queue where webhook in ('paused', 'deleted')")).length;
    await eventually(async () => (await waiting()) === 60);
    await system.admin("select walhook.cancel('paused'), walhook.cancel_dead_letters('bad')");
    await system.admin("delete from walhook.webhook where name = 'deleted'");
    await eventually(async () => (await waiting()) === 0);
    await system.settled();
    const log = await system.look(FROM_LOG);
    expect(log.filter(({ outcome }) => outcome === "cancelled").length).toBeGreaterThanOrEqual(3);
    expect(await system.look(FROM_ROLLUP)).toEqual(log);
    await system.admin("delete from walhook.webhook where name = 'paused'");
    await system.caughtUp();
  });

  it("adds to a minute that was merged already, its histograms too", async () => {
    await using _ = await system.startBridge();
    for (const from of [1000, 2000]) {
      await system.app("insert into orders select n, n from generate_series($1::int, $1::int + 99) n", [from]);
      await system.settled();
      await system.db.queryAs(system.roles.bridge, "select walhook.merge_rollup()");
    }
    expect(await system.look(FROM_ROLLUP)).toEqual(await system.look(FROM_LOG));
    expect(
      await system.look(`
        select from walhook.rollup_minute where host <> '' and (log_rows <> (select sum(n) from unnest(duration_counts) n)
            or outcome = 'delivered' and log_rows <> (select sum(n) from unnest(receipt_counts) n))`),
    ).toEqual([]);
  });

  it("is the same by hour", async () => {
    const columns =
      "webhook_id, outcome, error_class, host, sum(log_rows)::int as log_rows, sum(request_bytes)::int as bytes";
    const histogram = (name: string): string =>
      `(select count(*)::int from unnest(${name}_buckets, ${name}_counts) as b (bucket, n))`;
    expect(
      await system.look(
        `select hour, ${columns} from walhook.rollup_hour group by 1, 2, 3, 4, 5 order by 1, 2, 3, 4, 5`,
      ),
    ).toEqual(
      await system.look(
        `select date_trunc('hour', minute) as hour, ${columns} from walhook.rollup_minute group by 1, 2, 3, 4, 5 order by 1, 2, 3, 4, 5`,
      ),
    );
    expect(
      await system.look(`
        select from walhook.rollup_hour where host <> '' and (log_rows <> (select sum(n) from unnest(duration_counts) n) or ${histogram("duration")} <> cardinality(duration_buckets))`),
    ).toEqual([]);
  });

  it("gives percentiles within 2 % of the log's own", async () => {
    const fractions = [0.01, 0.25, 0.5, 0.75, 0.95, 0.99, 1];
    const [exact] = await system.look(
      `select percentile_disc($1::float8[]) within group (order by duration_ms) as duration,
              percentile_disc($1::float8[]) within group (order by extract(epoch from sent_at - commit_time) * 1000 + duration_ms) as receipt
         from walhook.webhook_request_log where outcome = 'delivered'`,
      [fractions],
    );
    const of = async (name: string): Promise<readonly number[]> => {
      const [row] = await system.look(
        `select walhook.percentiles(array_agg(h.bucket), array_agg(h.n), $1) as p
           from walhook.webhook_rollup r, unnest(r.${name}_buckets::int[], r.${name}_counts::bigint[]) as h (bucket, n)
          where r.outcome = 'delivered'`,
        [fractions],
      );
      return row!["p"] as number[];
    };
    for (const name of ["duration", "receipt"]) {
      const found = await of(name);
      (exact![name] as number[]).forEach((value, i) => {
        // Besides the bucket: the log keeps the thousandth of a millisecond, and the begin of the attempt to the millisecond.
        expect(Math.abs(found[i]! - value), `${name} ${fractions[i]}`).toBeLessThanOrEqual(value * 0.02 + 0.001);
      });
    }
  });

  it("is what an upgrade makes of the log that it finds", async () => {
    const before = await system.look(FROM_ROLLUP);
    const { readFile } = await import("node:fs/promises");
    const file = await readFile(new URL("../../sql/140_rollup.sql", import.meta.url), "utf8");
    await system.look(
      "delete from walhook.rollup_minute; delete from walhook.rollup_hour; delete from walhook.rollup_part; delete from walhook.migration where version = 140",
    );
    await system.look(file);
    expect(await system.look(FROM_ROLLUP)).toEqual(before);
    await system.look(file);
    expect(await system.look(FROM_ROLLUP)).toEqual(before);
  });
});
