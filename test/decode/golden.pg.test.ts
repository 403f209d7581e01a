import { afterAll, beforeAll, expect, it } from "vitest";
import type { Frame } from "../../src/replication/frame.ts";
import { type TestDatabase, createDatabase } from "../support/database.ts";
import { eventually } from "../support/eventually.ts";
import { isBetweenTransactions, open, publish, receive } from "../replication/streaming.ts";
import { CHANGES } from "./golden/changes.ts";
import { decodeRecording } from "./golden/decode-recording.ts";
import { type DataFrame, writeRecording } from "./golden/recording.ts";
import { PUBLISHED, SETUP, STATEMENTS } from "./golden/script.ts";

/** `WALHOOK_RECORD=1 npm run test:matrix -- -- test/decode/golden.pg.test.ts` stores what every server sends. */
const IS_RECORDING = process.env["WALHOOK_RECORD"] !== undefined;

const isLast = (frame: Frame): boolean => frame.kind === "data" && frame.bytes.includes("last");

let database: TestDatabase;
let frames: readonly DataFrame[];

beforeAll(async () => {
  database = await createDatabase("golden");
  await database.query(SETUP);
  await publish(database, PUBLISHED);
  await database.query("select pg_replication_origin_create($1)", [database.name]);
  const client = await database.connect();
  for (const statement of STATEMENTS) await client.query(statement.replace("%origin", database.name));
  await client.end();
  const stream = await open(database);
  const received = receive(stream);
  await eventually(() => received.frames.some(isLast) && isBetweenTransactions(received));
  await stream.stop();
  frames = received.frames.filter((frame) => frame.kind === "data");
});

afterAll(async () => {
  await database.query("select pg_replication_origin_drop($1)", [database.name]);
  await database.drop();
});

it("decodes what this server sends to the same changes as what the others sent", async () => {
  const { rows } = await database.query("select split_part(current_setting('server_version'), ' ', 1) as version");
  if (IS_RECORDING) writeRecording({ server: (rows[0] as { version: string }).version, frames });
  expect(await decodeRecording(frames)).toEqual(CHANGES);
});

it("says the end of a transaction as the place of its Commit", () => {
  const commits = frames.filter(({ bytes }) => bytes[0] === 0x43);
  expect(commits.length).toBeGreaterThan(20);
  for (const { lsn, bytes } of commits) expect(bytes.readBigUInt64BE(10)).toBe(lsn);
});
