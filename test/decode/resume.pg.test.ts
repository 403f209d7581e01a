import fc from "fast-check";
import { Subject } from "rxjs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Catalog } from "../../src/decode/catalog.ts";
import { type Chunk, endOfTransaction } from "../../src/decode/chunk.ts";
import type { ConfigurationTable } from "../../src/decode/configuration-tables.ts";
import { type DecodeOptions, decode } from "../../src/decode/decode.ts";
import { type Position, START, comparePositions } from "../../src/decode/position.ts";
import type { RowChange } from "../../src/decode/row-change.ts";
import { deferred } from "../../src/deferred.ts";
import { type Frame, weightOf } from "../../src/replication/frame.ts";
import { type TestDatabase, createDatabase } from "../support/database.ts";
import { eventually } from "../support/eventually.ts";
import { insertedIds, open, publish, receive } from "../replication/streaming.ts";
import { catalogOf } from "./decoding.ts";

let database: TestDatabase;
let frames: readonly Frame[];
let catalog: Catalog;
let configurationOids: ReadonlyMap<number, ConfigurationTable>;
let whole: readonly Chunk[];

beforeAll(async () => {
  database = await createDatabase("resume");
  await database.query(`
    create table item (id text primary key);
    create table configuration (id int primary key);
    alter table configuration replica identity full;
    create table place (id int, region text, primary key (id, region)) partition by list (region);
    create table place_a partition of place for values in ('a');
    create table place_b partition of place for values in ('b');
    create table audit (what text);
    create function note() returns trigger language plpgsql as $$
      begin insert into audit values (new.id), (new.region); return new; end $$;
    create trigger noted before insert on place_b for each row execute function note();
  `);
  await publish(database, "item, configuration, place, audit");
  for (const sql of [
    "insert into item values ('a')",
    "insert into item select 'b' || g from generate_series(1, 20) g",
    "begin; insert into item values ('c'); insert into configuration values (1), (2); insert into item values ('d'); commit",
    "create table unpublished (id int)",
    "insert into place select g, 'a' from generate_series(1, 5) g",
    "begin; insert into item values ('e'); update place set region = 'b'; delete from configuration where id = 1; commit",
    "truncate item, audit",
    "insert into item values ('last')",
  ]) {
    await database.query(sql);
  }
  const stream = await open(database);
  const received = receive(stream);
  await eventually(() => insertedIds(received.frames).includes("last") && received.tags.includes("Ck"));
  await stream.stop();
  frames = received.frames;
  const { rows } = await database.query("select 'configuration'::regclass::oid::int8::text as oid");
  configurationOids = new Map([[Number((rows[0] as { oid: string }).oid), "webhook"]]);
  catalog = cached(catalogOf(database));
  whole = await decoded({});
});

afterAll(() => database.drop());

/** Answers from memory what was asked before: the tables do not change any more. */
function cached(inner: Catalog): Catalog {
  const answers = new Map<number, ReturnType<Catalog["describeRelation"]>>();
  return {
    describeRelation: (message) => {
      const answer = answers.get(message.oid) ?? inner.describeRelation(message);
      answers.set(message.oid, answer);
      return answer;
    },
  };
}

/** Decodes the recorded frames, in reads of the given numbers of frames (then all the rest). */
async function decoded(options: Partial<DecodeOptions>, reads: readonly number[] = []): Promise<Chunk[]> {
  const source = new Subject<Frame>();
  const chunks: Chunk[] = [];
  const result = new Promise<Chunk[]>((resolve, reject) => {
    source
      .pipe(decode({ catalog, configurationOids, resumeAfter: START, ...options }))
      .subscribe({ next: (chunk) => chunks.push(chunk), error: reject, complete: () => resolve(chunks) });
  });
  // It may fail before anybody waits for it.
  result.catch(() => {});
  let at = 0;
  for (const read of [...reads, frames.length]) {
    for (const frame of frames.slice(at, at + read)) source.next(frame);
    at += read;
    await new Promise(setImmediate);
  }
  source.complete();
  return result;
}

function changesIn(chunks: readonly Chunk[]): RowChange[] {
  return chunks.flatMap((chunk) => chunk.changes);
}

function bytesIn(chunks: readonly Chunk[]): number {
  return chunks.reduce((sum, chunk) => sum + chunk.bytes, 0);
}

/** Everything but the order of the object's fields and which of the equal descriptions of a table it is. */
function essence(changes: readonly RowChange[]): object[] {
  return changes.map(({ relation, ...change }) => ({ ...change, table: relation.table }));
}

const reads = fc.array(fc.integer({ min: 1, max: 12 }), { maxLength: 60 });

describe("decoding again after a restart", () => {
  it("gives the same changes, places and bytes however the frames arrive and chunks are cut", async () => {
    const total = frames.reduce((sum, frame) => sum + (frame.kind === "data" ? weightOf(frame) : 0), 0);
    await fc.assert(
      fc.asyncProperty(reads, fc.integer({ min: 1, max: 30 }), fc.integer({ min: 1, max: 3000 }), async (...input) => {
        const [sizes, maxChanges, maxBytes] = input;
        const chunks = await decoded({ maxChanges, maxBytes }, sizes);
        expect(essence(changesIn(chunks))).toEqual(essence(changesIn(whole)));
        expect(chunks.flatMap((chunk) => chunk.configuration)).toEqual(whole.flatMap((chunk) => chunk.configuration));
        expect(chunks.every((chunk) => chunk.changes.length <= maxChanges)).toBe(true);
        expect(bytesIn(chunks)).toBe(total);
      }),
      { numRuns: 60 },
    );
  });

  it("gives exactly what comes after the place it resumes at, for every place", async () => {
    const all = changesIn(whole);
    const places = [...all.map((change) => change.position), ...whole.map((chunk) => chunk.position)];
    for (const resumeAfter of places) {
      const after = changesIn(await decoded({ resumeAfter }));
      expect(essence(after)).toEqual(
        essence(all.filter(({ position }) => comparePositions(position, resumeAfter) > 0)),
      );
    }
  });

  it("collects the whole configuration of the transaction it resumes in, and none of those before", async () => {
    const chunks = whole.filter((chunk) => chunk.configuration.length > 0);
    expect(chunks).toHaveLength(2);
    for (const chunk of chunks) {
      const { commitLsn } = chunk.position;
      const inside = changesIn(whole).filter(({ transaction }) => transaction.commitLsn === commitLsn);
      for (const { position } of inside) {
        const [first] = (await decoded({ resumeAfter: position })).filter(
          ({ configuration }) => configuration.length > 0,
        );
        expect(first).toMatchObject({ configuration: chunk.configuration, position: chunk.position });
      }
      const [next] = (await decoded({ resumeAfter: chunk.position })).filter((later) => later.configuration.length > 0);
      expect(next?.position).not.toEqual(chunk.position);
    }
  });

  it("makes one update of a moved row also where it resumes between its halves", async () => {
    const audits = changesIn(whole).filter(({ relation }) => relation.table === "audit");
    expect(audits.length).toBeGreaterThan(5);
    for (const { position } of audits) {
      const kinds = changesIn(await decoded({ resumeAfter: position }))
        .filter(({ relation }) => relation.table === "place")
        .map((change) => change.kind);
      expect(kinds.every((kind) => kind === "update")).toBe(true);
    }
  });

  it("never goes back, and passes a transaction whole at its Commit", async () => {
    let position: Position = START;
    let flushLsn = 0n;
    for (const chunk of await decoded({ maxChanges: 3 })) {
      expect(comparePositions(chunk.position, position)).toBeGreaterThanOrEqual(0);
      expect(chunk.flushLsn).toBeGreaterThanOrEqual(flushLsn);
      ({ position, flushLsn } = chunk);
      // What is not yet past its Commit is not acknowledged.
      const unfinished = chunk.changes.filter(
        (change) => comparePositions(endOfTransaction(change.position.commitLsn), position) > 0,
      );
      expect(unfinished.every((change) => change.transaction.commitLsn >= flushLsn)).toBe(true);
    }
    expect(flushLsn).toBe(frames.reduce((max, { kind, lsn }) => (kind === "keepalive" && lsn > max ? lsn : max), 0n));
  });

  it("waits in order while the catalog is asked, and tells the bytes of what waits only when it is handed on", async () => {
    const source = new Subject<Frame>();
    const chunks: Chunk[] = [];
    const isAllowed = deferred<void>();
    const slow: Catalog = {
      describeRelation: (message) => isAllowed.promise.then(() => catalog.describeRelation(message)),
    };
    source
      .pipe(decode({ catalog: slow, configurationOids, resumeAfter: START }))
      .subscribe((chunk) => chunks.push(chunk));
    const firstCommit = frames.findIndex((frame) => frame.kind === "data" && frame.bytes[0] === 0x43);
    for (const frame of frames.slice(0, firstCommit + 1)) source.next(frame);
    await new Promise(setImmediate);
    expect(changesIn(chunks)).toEqual([]);
    expect(chunks.every((chunk) => chunk.position.commitLsn === 0n)).toBe(true);
    isAllowed.resolve();
    await eventually(() => changesIn(chunks).length === 1);
  });

  it("fails where the catalog cannot be asked", async () => {
    const broken: Catalog = { describeRelation: () => Promise.reject(new Error("no connection")) };
    await expect(decoded({ catalog: broken })).rejects.toThrow("no connection");
  });

  it("fails with a DecodeError that says where, on a frame it does not understand", async () => {
    const source = new Subject<Frame>();
    const failure = new Promise((_resolve, reject) => {
      source.pipe(decode({ catalog, configurationOids, resumeAfter: START })).subscribe({ error: reject });
    });
    source.next({ kind: "data", lsn: 0x1_2345_6789n, bytes: Buffer.from("Sxx") });
    await expect(failure).rejects.toThrow(/unknown message "S".*1\/23456789/);
  });
});
