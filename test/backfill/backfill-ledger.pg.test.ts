import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type pg from "pg";
import { afterAll, beforeAll, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import { startSystem, type System } from "../support/system.ts";
import { startCli } from "../support/walhook-cli.ts";

const ROWS = Number(process.env["WALHOOK_BACKFILL_ROWS"] ?? 5000);
const KILLS = Number(process.env["WALHOOK_BACKFILL_KILLS"] ?? 2);
/** Rows of a chunk: so many may be under way between what is received and what is durable. */
const CHUNK = 500;

interface Item {
  readonly id: string;
  readonly name: string;
  readonly event: string;
  /** The row's version: that of its last change. */
  readonly seq: number;
}

let system: System;
let receiver: { readonly url: string; readonly items: Item[]; close(): void };
beforeAll(async () => {
  system = await startSystem("backfill_ledger");
  receiver = await startCounter();
});
afterAll(async () => {
  receiver.close();
  await system.drop();
});

it(
  `sends ${ROWS} rows beside updates, inserts and deletes, over ${KILLS} kills: each once or as its own newer change, none older than before, and the progress is right`,
  async () => {
    await system.app(
      `create table orders (id int primary key, seq bigint not null, kind text not null, note text);
       create sequence seqs;
       insert into orders select n, 0, 'first', repeat('x', 40) from generate_series(2, ${2 * ROWS}, 2) n;
       -- What was committed, written by the statements that did it: the oracle.
       create table ledger (seq bigint primary key, id int not null, what text not null)`,
    );
    await system.db.query("vacuum analyze orders");
    await system.webhook("w", "orders", "after_insert, on_update, on_trash", {
      batch_size: 100,
      request_url: receiver.url,
    });
    // Half of the changes are not the webhook's: then the row itself is sent, as it was read.
    await system.admin("update walhook.webhook set condition = $$event = 'backfill' or doc.seq % 2 = 0$$");
    const start = () => startCli(["run"], { DATABASE_URL: system.db.urlAs(system.roles.bridge) });
    let bridge = start();
    const writers = await Promise.all([0, 1].map(() => system.db.connect(system.roles.app)));
    let isOver = false;
    const writing = writers.map(async (writer, number) => {
      for (let round = 1; !isOver; round++) {
        await change(writer, number, round);
        // Live deliveries go first: who writes more than can be sent holds the backfill for ever.
        if (round % 20 === 0) await eventually(async () => isOver || (await isQueueShort()), { withinMs: 120_000 });
      }
    });
    await eventually(async () => (await system.look("select from ledger limit 100")).length === 100);
    const before = await newestByName("select id::text as name, max(seq)::float8 as seq from ledger group by id");
    const begunMs = Date.now();
    let atMs = begunMs;
    let polls = 0;
    let ahead = 0;
    const wrong: object[] = [];
    try {
      await system.admin("select walhook.backfill('w')");
      let kills = 0;
      await eventually(
        async () => {
          const receivedBefore = backfilled(receiver);
          const row = await progress();
          const receivedAfter = backfilled(receiver);
          const done = Number(row["rows_done"]);
          const sent = Number(row["rows_sent"]);
          polls++;
          const percent = Number(row["percent"] ?? 0);
          // What the receiver knows, and the rows that were left to newer changes: those are done as well. What is durable
          // was received, or waits in the queue.
          const known = (100 * (receivedBefore + done - sent)) / ROWS;
          ahead = Math.max(ahead, (receivedBefore - sent) / ROWS);
          const isRight =
            sent - Number(row["waiting"]) <= receivedAfter &&
            sent <= done &&
            receivedBefore - sent <= CHUNK + 0.05 * ROWS &&
            Math.abs(percent - known) <= 5 + (row["state"] === "running" ? (100 * CHUNK) / ROWS : 0);
          if (row["state"] !== "new" && !isRight) wrong.push({ ...row, receivedBefore, receivedAfter });
          if (kills < KILLS && done > ((kills + 1) * ROWS) / (KILLS + 1)) {
            kills++;
            bridge.child.kill("SIGKILL");
            await bridge.ended;
            bridge = start();
          }
          return row["state"] === "done";
        },
        { withinMs: 120_000 + ROWS, everyMs: 20 },
      );
      expect(kills).toBe(KILLS);
      atMs = Date.now();
      isOver = true;
      await Promise.all(writing);
      await system.settled(120_000);
    } finally {
      isOver = true;
      await Promise.all(writing);
      bridge.child.kill("SIGTERM");
      await bridge.ended;
    }
    const final = await progress();
    const figures = await judge(before);
    expect(Number(final["rows_sent"])).toBe(figures["backfilled"]);
    expect(Math.abs(Number(final["rows_done"]) / ROWS - 1)).toBeLessThan(0.05);
    expect(wrong).toEqual([]);
    const seconds = (atMs - begunMs) / 1000;
    process.stderr.write(
      `backfill of ${ROWS} rows, ${KILLS} kills: ${seconds.toFixed(1)} s, ${Math.round(ROWS / seconds)} rows/s, ${JSON.stringify(figures)}, ` +
        `${polls} polls, received ahead of the progress by ${(100 * ahead).toFixed(2)} % at most, rows_done ${String(final["rows_done"])}\n`,
    );
  },
  300_000 + ROWS,
);

const progress = async (): Promise<Record<string, unknown>> =>
  (
    await system.look(
      `select state, rows_done, rows_sent, rows_estimated, percent::float8, error,
              (select count(*) from walhook.webhook_queue where source = 'backfill')::int as waiting
         from walhook.backfill_progress`,
    )
  )[0]!;

const isQueueShort = async (): Promise<boolean> =>
  (await system.look("select from walhook.webhook_queue limit 200")).length < 200;

/** One transaction: rows everywhere in the table, and what was done to them. */
async function change(writer: pg.Client, number: number, round: number): Promise<void> {
  const changed = 2 * (1 + ((round * 7919 + number * 104_729) % ROWS));
  const hot = 2 * (1 + Math.floor(ROWS / 2));
  const id = round % 10 === 0 ? 1 + (changed % 200) : changed;
  // A hundred odd ones come and go, even ones change, one in the middle all the time; one in seven is taken away and comes again.
  const what = id % 2 === 1 ? "insert" : round % 7 === 0 ? "again" : "update";
  await writer.query("begin");
  if (what === "insert") {
    await writer.query(
      `with n as (select nextval('seqs') as seq), done as (insert into orders select $1, n.seq, 'new', null from n on conflict (id) do update set seq = excluded.seq returning seq)
       insert into ledger select seq, $1, 'set' from done`,
      [id],
    );
  } else if (what === "again") {
    await writer.query(
      "with gone as (delete from orders where id = $1 returning id) insert into ledger select nextval('seqs'), id, 'gone' from gone",
      [id],
    );
    await writer.query(
      "with done as (insert into orders values ($1, nextval('seqs'), 'again', null) on conflict do nothing returning seq) insert into ledger select seq, $1, 'set' from done",
      [id],
    );
  } else {
    for (const one of id < hot ? [id, hot] : [hot, id]) {
      await writer.query(
        "with done as (update orders set seq = nextval('seqs') where id = $1 returning seq) insert into ledger select seq, $1, 'set' from done",
        [one],
      );
    }
  }
  await writer.query("commit");
}

/** Holds what was received to what was committed. */
async function judge(before: ReadonlyMap<string, number>): Promise<Record<string, number>> {
  const ledger = (await system.look("select id::text as name, seq::float8 as seq, what from ledger")) as {
    name: string;
    seq: number;
    what: string;
  }[];
  const committed = new Set(ledger.map(({ name, seq }) => `${name} ${seq}`));
  const seen = new Set<string>();
  const live = new Set<string>();
  const changed = new Set<string>();
  const newest = new Map<string, number>();
  const idOfRow = new Map<string, string>();
  const wrong = { staleBackfills: 0, outOfOrder: 0, neverCommitted: 0, twice: 0, olderThanAsked: 0 };
  for (const { id, name, event, seq } of receiver.items) {
    if (seq !== 0 && !committed.has(`${name} ${seq}`)) wrong.neverCommitted++;
    // What a killed bridge could not write down comes again, with its id.
    if (!seen.has(id) && seq < (newest.get(name) ?? 0)) wrong[event === "backfill" ? "staleBackfills" : "outOfOrder"]++;
    seen.add(id);
    newest.set(name, Math.max(seq, newest.get(name) ?? 0));
    if (event !== "backfill") {
      live.add(`${name} ${seq}`);
      changed.add(name);
      continue;
    }
    if (seq < (before.get(name) ?? 0)) wrong.olderThanAsked++;
    if ((idOfRow.get(name) ?? id) !== id) wrong.twice++;
    idOfRow.set(name, id);
  }
  expect(wrong).toEqual({ staleBackfills: 0, outOfOrder: 0, neverCommitted: 0, twice: 0, olderThanAsked: 0 });
  // Each change that is the webhook's.
  expect(
    ledger.filter(({ name, seq, what }) => what === "set" && seq % 2 === 0 && !live.has(`${name} ${seq}`)),
  ).toEqual([]);
  // Each row that was there at the start was sent, or a change of it; one that was gone when its turn came is nobody's.
  const gone = new Set(ledger.filter(({ what }) => what === "gone").map(({ name }) => name));
  const missing = Array.from({ length: ROWS }, (_, n) => String(2 * (n + 1))).filter((name) => !newest.has(name));
  expect(missing.filter((name) => !gone.has(name))).toEqual([]);
  const [logged] = await system.look(
    `select count(*)::int as rows, count(distinct delivery_id)::int as ids, count(*) filter (where outcome <> 'delivered')::int as others
       from walhook.webhook_request_log`,
  );
  // A killed bridge may have sent a row that, read again, is left to a change of its own by now.
  const [inLog] = (await system.look(
    "select array_agg(docname) as names from walhook.webhook_request_log where source = 'backfill'",
  )) as { names: string[] }[];
  const sentRows = new Set(inLog!.names);
  const overtaken = [...idOfRow.keys()].filter((name) => !sentRows.has(name));
  expect(overtaken.filter((name) => !changed.has(name))).toEqual([]);
  const ids = seen.size - overtaken.length;
  expect(logged).toEqual({ rows: ids, ids, others: 0 });
  return {
    backfilled: sentRows.size,
    overtaken: overtaken.length,
    changes: ledger.length,
    live: seen.size - idOfRow.size,
    duplicates: receiver.items.length - seen.size,
    missing: missing.length,
  };
}

async function newestByName(query: string): Promise<ReadonlyMap<string, number>> {
  const rows = (await system.look(query)) as { name: string; seq: number }[];
  return new Map(rows.map(({ name, seq }) => [name, seq]));
}

const known = new Set<string>();
let looked = 0;
/** How many rows were received of the backfill. */
function backfilled({ items }: typeof receiver): number {
  for (; looked < items.length; looked++) if (items[looked]!.event === "backfill") known.add(items[looked]!.name);
  return known.size;
}

/** A receiver that keeps of each event only what is asked about. */
async function startCounter(): Promise<typeof receiver> {
  const items: Item[] = [];
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on("data", (part: Buffer) => parts.push(part));
    request.on("end", () => {
      const batch = JSON.parse(Buffer.concat(parts).toString()) as readonly Sent[];
      for (const event of batch) items.push(toItem(event));
      response.end();
    });
  });
  server.keepAliveTimeout = 60_000;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/`, items, close: () => (server.close(), server.closeAllConnections()) };
}

interface Sent {
  readonly id: string;
  readonly payload: {
    readonly data: { readonly event: string; readonly name: string; readonly doc: { readonly seq: number } };
  };
}

function toItem({ id, payload: { data } }: Sent): Item {
  return { id, name: data.name, event: data.event, seq: data.doc.seq };
}
