import { copyFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { migrate, migrationFiles } from "../../src/db/migrate.ts";
import { createDatabase } from "../support/database.ts";
import { refusal, watchedDatabase, type WatchedDatabase } from "./watched-database.ts";

const WHSK = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
const WHPK = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";

let watched: WatchedDatabase;
beforeAll(async () => {
  watched = await watchedDatabase("signing");
  await watched.app.query("create table orders (id int primary key)");
});
afterAll(() => watched.drop());
beforeEach(async () => {
  await watched.admin.query("delete from walhook.webhook");
  await watched.webhook("w", "orders", "after_insert", { enable_security: true, webhook_secret: "first" });
});

/** The secrets in force, oldest first, and the hours that each has left. */
const secrets = () =>
  watched.rows(
    `select secret, kind, round(extract(epoch from expires_at - now()) / 3600)::int as hours
     from walhook.webhook_secret order by id`,
  );
async function rotate(...args: readonly unknown[]): Promise<string> {
  const places = ["$1", "$2", "$3"].slice(0, args.length + 1);
  const { rows } = await watched.admin.query<{ made: string }>(
    `select walhook.rotate_secret(${places.join(", ")}) as made`,
    ["w", ...args],
  );
  return rows[0]!.made;
}
const add = (secret: string) => watched.admin.query("select walhook.add_secret('w', $1)", [secret]);

describe("a rotation", () => {
  it("makes a new secret, returns it this once, and lets the former one sign for a day", async () => {
    const made = await rotate();
    expect(Buffer.from(made.replace(/^whsec_/, ""), "base64")).toHaveLength(32);
    expect(await secrets()).toEqual([
      { secret: "first", kind: "symmetric", hours: 24 },
      { secret: made, kind: "symmetric", hours: null },
    ]);
    expect(await watched.rows("select webhook_secret from walhook.webhook")).toEqual([{ webhook_secret: "***" }]);
  });

  it("takes a secret and a grace, up to seven days; a second one shortens what the first left, never lengthens it", async () => {
    expect(await rotate("second", "2 h")).toBe("second");
    await rotate("third", "7 days");
    const hours = async () => (await secrets()).map((row) => [row["secret"], row["hours"]]);
    expect(await hours()).toEqual([
      ["first", 2],
      ["second", 168],
      ["third", null],
    ]);
    await rotate("fourth", "1 h");
    expect(await hours()).toEqual([
      ["first", 1],
      ["second", 1],
      ["third", 1],
      ["fourth", null],
    ]);
    for (const grace of ["7 days 1 s", "-1 s", null]) {
      expect((await refusal(rotate("fifth", grace))).message).toContain("the grace is");
    }
  });

  it("without a grace ends the former secret at once", async () => {
    await rotate("second", "0 s");
    expect(await secrets()).toEqual([{ secret: "second", kind: "symmetric", hours: null }]);
  });

  it("of one of several secrets replaces the one of its kind", async () => {
    await add(WHSK);
    await rotate("second", "0 s");
    expect((await secrets()).map(({ secret }) => secret)).toEqual([WHSK, "second"]);
    const { message } = await refusal(rotate("env:WALHOOK_SECRET_W"));
    expect(message).toContain("does not tell which of them it replaces");
  });

  it("of the only secret may change its kind", async () => {
    await rotate(WHSK);
    expect((await secrets()).map(({ kind, hours }) => [kind, hours])).toEqual([
      ["symmetric", 24],
      ["ed25519", null],
    ]);
    expect((await refusal(rotate())).hint).toContain("walhook keys generate --kind ed25519");
  });

  it("leaves what has expired behind", async () => {
    await rotate("second");
    await watched.db.query(
      "update walhook.webhook_secret set expires_at = now() - interval '1 s' where secret = 'first'",
    );
    await rotate("third");
    expect((await secrets()).map(({ secret }) => secret)).toEqual(["second", "third"]);
  });

  it("ends with the webhook's transaction, and does not touch what is written to the column later", async () => {
    await watched.admin.query("begin");
    await rotate("second");
    await watched.admin.query("update walhook.webhook set webhook_secret = 'third'");
    await watched.admin.query("commit");
    expect(await secrets()).toEqual([{ secret: "third", kind: "symmetric", hours: null }]);
  });

  it("makes who does it the author, who must be able to read the table", async () => {
    await watched.app.query(`revoke select on orders from "${watched.roles.admin}"`);
    const { message } = await refusal(rotate("second"));
    await watched.app.query(`grant select on orders to "${watched.roles.admin}"`);
    expect(message).toContain("may not read");
    expect((await secrets()).map(({ secret }) => secret)).toEqual(["first"]);
  });

  it("needs a webhook, a real secret, and not more than ten of them", async () => {
    const unknown = watched.admin.query("select walhook.rotate_secret('nobody')");
    expect((await refusal(unknown)).message).toContain('no webhook "nobody"');
    expect((await refusal(rotate("***"))).message).toContain("no secret");
    for (let n = 2; n <= 10; n++) await add(`secret ${n}`);
    expect((await refusal(add("eleventh"))).message).toContain("10 secrets");
  });
});

describe("a secret", () => {
  it("of ed25519 has its public key where admins and analysts can read it, and nothing secret beside it", async () => {
    await add(WHSK);
    await add("file:orders.key");
    const query = "select webhook, kind, public_key, reference from walhook.signing_key order by id";
    const { rows } = await watched.admin.query(query);
    expect(rows).toEqual([
      { webhook: "w", kind: "symmetric", public_key: null, reference: null },
      { webhook: "w", kind: "ed25519", public_key: WHPK, reference: null },
      { webhook: "w", kind: "reference", public_key: null, reference: "file:orders.key" },
    ]);
    const superuser = await watched.db.connect();
    await superuser.query("set role walhook_analyst");
    expect((await superuser.query(query)).rows).toEqual(rows);
    await superuser.query("set role walhook_monitor");
    expect((await refusal(superuser.query(query))).code).toBe("42501");
    expect((await refusal(watched.admin.query("select from walhook.webhook_secret"))).code).toBe("42501");
  });

  it.each([
    ["", /is empty/],
    ["whsec_", /must be base64/],
    ["whsk_QUJD", /64 bytes/],
    [WHPK, /public key, which signs nothing/],
    ["env:DATABASE_URL", /begins with WALHOOK_SECRET_/],
    ["file:", /followed by a path/],
  ])("%j is refused", async (secret, reason) => {
    expect((await refusal(add(secret))).message).toMatch(reason);
    const written = watched.admin.query("update walhook.webhook set webhook_secret = $1", [secret]);
    expect((await refusal(written)).message).toMatch(reason);
  });

  it("is made of 24 to 64 bytes that are random in every bit", async () => {
    for (const size of [24, 32, 64]) {
      const made = await watched.rows("select walhook.generate_secret($1) as s from generate_series(1, 200)", [size]);
      const keys = made.map(({ s }) => Buffer.from(String(s).replace(/^whsec_/, ""), "base64"));
      expect(new Set(keys.map((key) => key.toString("hex"))).size).toBe(200);
      expect(keys.every((key) => key.length === size)).toBe(true);
      for (let bit = 0; bit < 8 * size; bit++) {
        const ones = keys.filter((key) => ((key[bit >> 3]! >> (bit & 7)) & 1) === 1).length;
        // Seven standard deviations: less than one run in a hundred million fails by chance.
        expect(ones, `bit ${bit}`).toBeGreaterThan(50);
        expect(ones, `bit ${bit}`).toBeLessThan(150);
      }
    }
    expect((await refusal(watched.admin.query("select walhook.generate_secret(16)"))).hint).toContain("24 to 64");
  });
});

describe("signature_formats", () => {
  it("are some of the four that there are", async () => {
    await watched.admin.query("update walhook.webhook set signature_formats = '{github,stripe}'");
    for (const formats of ["{}", "{slack}", "{standard,NULL}", null]) {
      const written = watched.admin.query("update walhook.webhook set signature_formats = $1", [formats]);
      expect((await refusal(written)).hint).toContain("standard, frappe, github, stripe");
    }
  });
});

it("an upgrade writes the secrets that are there into the WAL once more, with their numbers", async () => {
  const folder = await mkdtemp(join(tmpdir(), "walhook-sql-"));
  await using db = await createDatabase("signing_upgrade");
  try {
    for (const { version, url } of await migrationFiles()) {
      const path = fileURLToPath(url);
      if (version < 100) await copyFile(path, join(folder, path.replace(/^.*\//, "")));
    }
    const client = await db.connect();
    await migrate(client, { folder: pathToFileURL(`${folder}/`) });
    await client.query(`
      create table orders (id int primary key);
      alter table orders owner to walhook_owner;
      insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url, enable_security, webhook_secret)
        values ('w', 'orders', 'after_insert', 'https://example.com/', true, 'env:taken as it is')`);
    const slot = `signing_${process.pid}`;
    await client.query("select pg_create_logical_replication_slot($1, 'test_decoding')", [slot]);
    await migrate(client);
    const { rows } = await client.query<{ data: string }>(
      "select data from pg_logical_slot_get_changes($1, null, null)",
      [slot],
    );
    await client.query("select pg_drop_replication_slot($1)", [slot]);
    const updates = rows
      .map(({ data }) => data)
      .filter((line) => line.startsWith("table walhook.webhook_secret: UPDATE"));
    expect(updates).toHaveLength(1);
    expect(updates[0]).toMatch(
      /new-tuple: webhook_id\[integer\]:1 secret\[text\]:'env:taken as it is' id\[bigint\]:1 kind\[text\]:'symmetric'/,
    );
    // And it can be rotated as any other.
    await client.query("select walhook.rotate_secret('w', 'second')");
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
