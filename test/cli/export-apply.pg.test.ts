import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { main } from "../../src/cli/main.ts";
import { watchedDatabase, type WatchedDatabase } from "../sql/watched-database.ts";

let watched: WatchedDatabase;
let folder: string;
let file: string;
const suffix = randomBytes(4).toString("hex");

beforeAll(async () => {
  watched = await watchedDatabase("apply");
  folder = await mkdtemp(join(tmpdir(), "walhook-apply-"));
  file = join(folder, "webhooks.yaml");
  await watched.app.query(`create table orders (id int primary key, status text, total numeric, docstatus int);
    create table "Odd Table" (id int primary key, "it's" text);
    create table hidden (id int primary key)`);
  await watched.app.query(`revoke all on hidden from "${watched.roles.admin}"`);
});
afterAll(async () => {
  await rm(folder, { recursive: true });
  await watched.drop();
});
beforeEach(async () => {
  await watched.admin.query("delete from walhook.webhook");
});

interface Said {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

async function walhook(...args: readonly string[]): Promise<Said> {
  const said = { out: "", err: "" };
  const code = await main(
    args,
    { DATABASE_URL: watched.db.urlAs(watched.roles.admin) },
    {
      out: (text) => (said.out += text),
      err: (text) => (said.err += text),
    },
  );
  return { code, ...said };
}

async function applying(text: string, ...flags: readonly string[]): Promise<Said> {
  await writeFile(file, text);
  return walhook("apply", file, ...flags);
}

/** All that people chose, without numbers and times. */
const configuration = (): Promise<unknown> =>
  watched.rows(`select to_jsonb(w) - '{id,created_at,modified_at,revision,condition_function}'::text[] as webhook,
    array(select h.key || ': ' || h.value from walhook.webhook_header h where h.webhook_id = w.id order by h.id) as headers,
    array(select d.key || ': ' || d.fieldname from walhook.webhook_data d where d.webhook_id = w.id order by d.id) as data
    from walhook.webhook w order by name`);

async function many(): Promise<void> {
  await watched.webhook("plain", "orders", "after_insert");
  await watched.webhook(`odd "näme": {x} #`, '"Odd Table"', "on_trash, after_insert", {
    condition: `doc."it's" <> 'a: b # c'\n  and doc.id > 0`,
    webhook_json: '{\n  "a": {{#json}}doc.id{{/json}}\n}\n',
    retry_schedule: "{5 s, 1 min}",
    timeout: "250 ms",
    rate_limit: "0.5",
    signature_formats: "{standard,github}",
    enabled: "false",
    enable_security: "true",
    webhook_secret: "env:WALHOOK_SECRET_ODD",
    log_request_bytes: "0",
    disable_after: null,
  });
  await watched.webhook("events", "orders", "on_update", {
    payload_format: "cloudevents-structured",
    batch_size: "10",
    batch_window: "1 s",
  });
  await watched.webhook("signed", "orders", "on_submit", { enable_security: "true", webhook_secret: "hush" });
  await watched.admin.query(`insert into walhook.webhook_header (webhook, key, value) values
    ('plain', 'X-B', 'on'), ('plain', 'X-A', '1 # 2'), ('plain', 'X-C', 'a: "b"')`);
  await watched.admin.query(`insert into walhook.webhook_data (webhook, fieldname, key) values
    ('plain', 'total', 'amount'), ('plain', 'id', '1')`);
}

const ONE = `webhooks:
  - name: new-order
    webhook_doctype: orders
    webhook_docevent: after_insert
    request_url: https://example.com
`;

describe("walhook export and apply", () => {
  it("what is exported, applied to nothing, makes the same again, and changes nothing a second time", async () => {
    await many();
    const before = await configuration();
    const { out } = await walhook("export");
    await watched.admin.query("delete from walhook.webhook");
    expect(await applying(out)).toMatchObject({
      code: 0,
      err: "",
      out: expect.stringContaining("added 4, changed 0, deleted 0; 0 are as the file says"),
    });
    expect(await configuration()).toEqual(before);
    expect(await walhook("apply", file)).toMatchObject({
      code: 0,
      out: "added 0, changed 0, deleted 0; 4 are as the file says\n",
    });
    expect((await walhook("export")).out).toBe(out.replace(/ # a placeholder.*/, ""));
  });

  it("leaves defaults out, names tables with their schemas, and shows no secret: a placeholder with a comment", async () => {
    await many();
    const { out } = await walhook("export");
    expect(out).not.toContain("hush");
    expect(out).not.toContain("request_method");
    expect(out).toContain(`webhook_doctype: public."Odd Table"`);
    expect(out).toMatch(/webhook_secret: env:WALHOOK_SECRET_SIGNED # a placeholder: .*leaves it alone/);
    expect(out).toContain("webhook_secret: env:WALHOOK_SECRET_ODD\n");
  });

  it("leaves a secret alone whose text the database has, and who wrote webhooks that are the same", async () => {
    await many();
    const { out } = await walhook("export");
    const secrets = "select secret from walhook.webhook_secret order by id";
    const before = await watched.rows(secrets);
    await watched.db.query(`update walhook.webhook set request_url = 'https://example.com/other' where name = 'plain'`);
    expect(await applying(out)).toMatchObject({
      code: 0,
      out: expect.stringMatching(
        /^~ plain\n    - request_url: "https:\/\/example.com\/other"\n    \+ request_url: "https:\/\/example.com\/hook"\n/,
      ),
    });
    expect(await watched.rows(secrets)).toEqual(before);
    expect(await applying(out.replace("WALHOOK_SECRET_ODD", "WALHOOK_SECRET_EVEN"))).toMatchObject({
      out: expect.stringContaining("changed 1"),
    });
    expect(await watched.rows(secrets)).toEqual(
      expect.arrayContaining([{ secret: "hush" }, { secret: "env:WALHOOK_SECRET_EVEN" }]),
    );
  });

  it("--dry-run shows the difference and changes nothing; the others are left alone, unless --prune", async () => {
    await watched.webhook("other", "orders", "on_trash");
    const before = await configuration();
    expect(await applying(ONE, "--dry-run")).toMatchObject({
      code: 0,
      out: expect.stringMatching(
        /^\+ new-order\n(    \+ .*\n)+would add 1, change 0, delete 0; 0 are as the file says\n$/,
      ),
    });
    expect((await walhook("apply", file, "--dry-run", "--prune")).out).toContain(
      "- other\nwould add 1, change 0, delete 1;",
    );
    expect(await configuration()).toEqual(before);
    await walhook("apply", file);
    expect((await watched.rows("select name from walhook.webhook order by 1")).map(({ name }) => name)).toEqual([
      "new-order",
      "other",
    ]);
    await walhook("apply", file, "--prune");
    expect((await watched.rows("select name from walhook.webhook")).map(({ name }) => name)).toEqual(["new-order"]);
  });

  it("takes a webhook to another table with the condition that the file says, whoever wrote it first", async () => {
    await watched.db.query(
      `insert into walhook.webhook (name, webhook_doctype, webhook_docevent, request_url, condition)
       values ('w', 'orders', 'after_insert', 'https://example.com/', 'doc.id > 0')`,
    );
    const text = `webhooks:
  - name: w
    webhook_doctype: '"Odd Table"'
    webhook_docevent: after_insert
    request_url: https://example.com/
    condition: doc.id > 0
`;
    expect(await applying(text)).toMatchObject({ code: 0 });
    const owner = await watched.rows(
      "select p.proowner::regrole::text as owner, w.doctype from walhook.webhook w join pg_proc p on p.proname = w.condition_function",
    );
    expect(owner).toEqual([{ owner: watched.roles.admin, doctype: "Odd Table" }]);
  });

  it("changes rows of headers and data, in their order, and goes back to defaults", async () => {
    await applying(`${ONE}    timeout: 1 s\n    headers: {X-A: a, X-B: b}\n    data: [{id: id}, {amount: total}]\n`);
    const { out } = await applying(`${ONE}    headers: {X-B: b, X-A: c}\n    data: [{amount: total}, {id: id}]\n`);
    expect(out).toBe(
      [
        "~ new-order",
        `    - timeout: "00:00:01"`,
        `    + timeout: "00:00:05"`,
        `    - headers: X-A: "a"`,
        `    + headers: X-A: "c"`,
        "    ~ data: in another order",
        "added 0, changed 1, deleted 0; 0 are as the file says",
        "",
      ].join("\n"),
    );
    expect(await configuration()).toMatchObject([{ headers: ["X-B: b", "X-A: c"], data: ["amount: total", "id: id"] }]);
  });

  it.each([
    ["what is no YAML", "webhooks:\n  - name: [a\n", 3, /./],
    ["another key at the top", `hooks: []\n${ONE}`, 1, /"hooks" is not known/],
    [
      "a misspelled column",
      `${ONE}    condtion: doc.id > 1\n`,
      6,
      /a webhook has no "condtion"[^]*Did you mean condition/,
    ],
    ["a column that a trigger fills", `${ONE}    author: postgres\n`, 6, /a webhook has no "author"/],
    ["a key that stands there twice", `${ONE}    request_url: https://example.org\n`, 6, /unique/],
    [
      "a missing column",
      "webhooks:\n  - name: a\n    webhook_doctype: orders\n    request_url: https://example.com\n",
      2,
      /webhook_docevent is missing/,
    ],
    [
      "a name that stands there twice",
      `${ONE}${ONE.replace("webhooks:\n", "")}`,
      6,
      /two webhooks "new-order"[^]*line \d/,
    ],
    ["a secret's text", `${ONE}    webhook_secret: hush\n`, 6, /not a reference/],
    [
      "a table that is not there",
      ONE.replace("orders", "order"),
      3,
      /there is no table "order"[^]*Did you mean 'orders'/,
    ],
    [
      "an event that does not exist",
      ONE.replace("after_insert", "on_insert"),
      4,
      /there is no doc event "on_insert"[^]*after_insert/,
    ],
    [
      "a condition that does not compile",
      `${ONE}    enabled: true\n    condition: doc.stats = 1\n`,
      7,
      /condition: column doc.stats does not exist/,
    ],
    ["a header that cannot be one", `${ONE}    headers: {"a b": c}\n`, 6, /"a b" is no name of a header/],
    ["a column of the body that is not there", `${ONE}    data: {a: nothing}\n`, 6, /nothing/],
    ["a value of another type", `${ONE}    batch_size: many\n`, 6, /integer/],
    ["a table that one may not read", ONE.replace("orders", "hidden"), 2, /may not read every column/],
  ])("%s is refused with the line of the file, and nothing of it is there", async (_, text, line, words) => {
    const good = text.includes("  - name: new-order")
      ? text.replace(
          "webhooks:\n",
          "webhooks:\n  - {name: good, webhook_doctype: orders, webhook_docevent: on_trash, request_url: 'https://example.com'}\n",
        )
      : text;
    const { code, err } = await applying(good);
    expect(err).toMatch(words);
    const at = Number(/webhooks\.yaml:(\d+):/.exec(err)?.[1]);
    expect([code, at]).toEqual([2, good === text || (text.startsWith("hooks") && line === 1) ? line : line + 1]);
    expect(await configuration()).toEqual([]);
  });

  it("a role that lacks a right changes nothing, and is told which", async () => {
    await writeFile(file, ONE);
    const stranger = `stranger_${suffix}`;
    await watched.db.query(`create role ${stranger} login in role walhook_monitor`);
    for (const [hint, ...args] of [
      ["GRANT walhook_admin TO <role>;", "apply", file],
      ["GRANT walhook_admin TO <role>;", "export"],
      ["Install as a superuser, or as the database's owner with REPLICATION", "install"],
    ] as const) {
      const said = { out: "", err: "" };
      const code = await main(
        args,
        { DATABASE_URL: watched.db.urlAs(stranger) },
        { out: (text) => (said.out += text), err: (text) => (said.err += text) },
      );
      expect([code, said.err]).toEqual([3, expect.stringMatching(/permission denied/)]);
      expect(said.err).toContain(`\n  ${hint}`);
    }
    await watched.db.query(`drop role ${stranger}`);
  });
});
