import { readFileSync } from "node:fs";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { eventually } from "../support/eventually.ts";
import type { ReceivedRequest } from "../support/receiver.ts";
import { startSystem, type System } from "../support/system.ts";
import { pageUrl } from "./generated.ts";

const PAGE = readFileSync(pageUrl("cookbook.md"), "utf8");
const [INTRODUCTION = "", ...SECTIONS] = PAGE.split(/^## /m);

interface Recipe {
  readonly title: string;
  readonly setup: string;
  readonly change: string;
  /** What is done after the receiver has failed. */
  readonly later: string | undefined;
  readonly requests: readonly {
    readonly method: string;
    readonly url: string;
    readonly contentType: string;
    readonly body: string;
  }[];
}

const blocks = (text: string, language: string): string[] =>
  [...text.matchAll(new RegExp(`\`\`\`${language}\\n([^]*?)\\n\`\`\``, "g"))].map((match) => match[1]!);

const RECIPES: readonly Recipe[] = SECTIONS.map((section) => {
  const [setup = "", change = "", later] = blocks(section, "sql");
  const requests = blocks(section, "http").map((block) => {
    const [, method = "", url = "", contentType = "", body = ""] =
      /^(\S+) (\S+)\nContent-Type: (\S+)\n\n([^]*)$/.exec(block) ?? [];
    return { method, url, contentType, body };
  });
  return { title: section.split("\n")[0]!, setup, change, later, requests };
});

let system: System;
beforeAll(async () => {
  system = await startSystem("cookbook");
  await system.app(blocks(INTRODUCTION, "sql")[0]!);
  await system.startBridge();
});
afterAll(() => system.drop());
beforeEach(async () => {
  system.receiver.answer({});
  await system.admin("delete from walhook.webhook");
  await system.app("delete from orders; delete from customers");
  await system.caughtUp();
});

/** The hosts of the page are paths of the receiver. */
const local = (text: string): string => text.replaceAll(/https:\/\/(?=[a-z{])/g, `${system.receiver.url}/`);
const pattern = (text: string): RegExp =>
  new RegExp(
    `^${text
      .split("…")
      .map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&"))
      .join('[^"]*?')}$`,
  );

/** Every header that a preview can know: all but those of the connection. */
const comparable = (headers: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(
    Object.entries(headers)
      .map(([name, value]) => [name.toLowerCase(), value] as const)
      .filter(
        ([name]) => !["host", "connection", "content-length", "accept-encoding", "transfer-encoding"].includes(name),
      ),
  );

describe("the cookbook", () => {
  it("has twenty recipes", () => expect(RECIPES).toHaveLength(20));

  it.each(RECIPES)("$title", async ({ setup, change, later, requests }) => {
    await system.admin(local(setup));
    if (later !== undefined) system.receiver.answer({ status: 500 });
    const before = system.receiver.requests.length;
    // One statement a transaction.
    for (const statement of change.split(/;\n?/).filter((text) => text.trim() !== "")) {
      await system.app(statement);
      await system.settled();
    }
    if (later !== undefined) {
      await eventually(async () => (await system.look("select from walhook.dead_letter")).length === 1);
      system.receiver.answer({});
      await system.admin(later);
      await eventually(() => system.receiver.requests.length === before + 2);
      await system.settled();
    }
    const got = system.receiver.requests.slice(before);
    expect(got.map(({ method, path, headers }) => [method, `https:/${path}`, headers["content-type"]])).toEqual(
      requests.map(({ method, url, contentType }) => [method, url, contentType]),
    );
    for (const [n, { body }] of requests.entries()) expect(got[n]!.body.toString()).toMatch(pattern(body));
    await comparePreviews(got);
  });
});

/** What `walhook.preview` shows for the last delivery, about the row as it is now, with the id and time of what arrived. */
async function comparePreviews(got: readonly ReceivedRequest[]): Promise<void> {
  const last = got.at(-1)!;
  const [logged] = await system.look(
    "select webhook, docname, docevent, delivery_id, doctype, commit_time::text, lsn::text, xid from walhook.webhook_request_log where request_id = $1 order by sent_at desc limit 1",
    [last.headers["webhook-id"]],
  );
  const {
    webhook,
    docname,
    docevent,
    delivery_id: id,
    doctype,
    commit_time,
    lsn,
    xid,
  } = logged as Record<string, string>;
  if (docevent === "on_trash") {
    // The row that is gone, once more.
    await system.app(`insert into ${doctype} (id) values (${docname})`);
    await system.settled();
  }
  const former = FORMER[webhook!];
  const rows = await system.admin(
    `select fires, method, url, headers, body, signature from walhook.preview($1, $2, event => $3, old => $4::jsonb, id => $5,
       sent_at => to_timestamp($6::bigint), commit_time => $7::timestamptz, lsn => $8::pg_lsn, xid => $9::bigint)`,
    [
      webhook,
      docname,
      docevent,
      former === undefined ? null : JSON.stringify(former),
      id,
      last.headers["webhook-timestamp"],
      commit_time,
      lsn,
      xid,
    ],
  );
  const shown = rows[0] as {
    fires: boolean;
    method: string;
    url: string;
    headers: Record<string, string>;
    body: string;
  };
  expect(shown.fires).toBe(true);
  expect(Buffer.from(shown.body)).toEqual(last.body);
  expect([shown.method, new URL(shown.url).pathname]).toEqual([last.method, last.path]);
  expect(comparable(shown.headers)).toEqual(comparable(last.headers));
}

/** What stood in the row before, for previews of changes. */
const FORMER: Readonly<Record<string, Record<string, unknown>>> = {
  "order-paid": { status: "Draft" },
  "customer-gone": { deleted_at: null },
  "email-changed": { email: null },
  mirror: { email: "old@example.com" },
  audit: { email: "pam@example.com" },
  submitted: { docstatus: 1 },
};
