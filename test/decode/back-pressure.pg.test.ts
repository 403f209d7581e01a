import { afterAll, beforeAll, expect, it } from "vitest";
import { type TestDatabase, createDatabase } from "../support/database.ts";
import { publish } from "../replication/streaming.ts";
import { decodeFrom } from "./decoding.ts";

let database: TestDatabase;

beforeAll(async () => {
  database = await createDatabase("pressure");
  await database.query(`
    create table place (id int, region text, note text, primary key (id, region)) partition by list (region);
    create table place_a partition of place for values in ('a');
    create table place_b partition of place for values in ('b');
    create table audit (what text);
    alter table place replica identity full;
    alter table place_a replica identity full;
    alter table place_b replica identity full;
    create function note() returns trigger language plpgsql as $$
      begin
        insert into audit select repeat('a', 20000) from generate_series(1, case when new.id = 3 then 20 else 2 end);
        return new;
      end $$;
    create trigger noted before insert on place_b for each row execute function note();
  `);
  await publish(database, "place, audit");
});

afterAll(() => database.drop());

it("a row larger than the high-water mark that moves between partitions does not hold the socket back for good", async () => {
  await using decoding = await decodeFrom(database, {}, { highWaterBytes: 4 * 1024 * 1024 });
  await database.query("insert into place select g, 'a', repeat('x', 5000000) from generate_series(1, 3) g");
  await database.query("update place set region = 'b'");
  const changes = await decoding.until(3 + 2 + 1 + 2 + 1 + 20 + 2);
  const kinds = changes.filter(({ relation }) => relation.table === "place").map((change) => change.kind);
  // The third has more than 256 KiB of other rows between its halves.
  expect(kinds).toEqual(["insert", "insert", "insert", "update", "update", "delete", "insert"]);
});
