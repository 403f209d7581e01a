import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseTemplate } from "../../src/render/template.ts";
import { refusal, watchedDatabase, type WatchedDatabase } from "./watched-database.ts";

let watched: WatchedDatabase;

beforeAll(async () => {
  watched = await watchedDatabase("templates");
  await watched.app.query("create table orders (id int primary key, status text, total numeric)");
});
afterAll(() => watched.drop());

/** What the bridge says of a template; null: it can read it. */
function bridgeProblem(template: string): string | null {
  try {
    parseTemplate(template);
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

const PIECES = ["{{", "}}", "{{{", "}}}", "{", "}", "#", "^", "/", "&", "!", ">", "=", "$", "<", ".", " ", "\n", '"'];
const WORDS = ["json", "doc", "doc.id", "a", "{{#json}}", "{{/json}}", "{{#a}}", "{{^a}}", "{{/a}}", "{{doc.id}}"];
const anyTemplate = fc
  .array(fc.constantFrom(...PIECES, ...WORDS, ...WORDS), { maxLength: 12 })
  .map((parts) => parts.join(""));

describe("a template", () => {
  it("is refused by the database exactly where the bridge could not read it", async () => {
    const seed = Number(process.env["WALHOOK_SEED"] ?? Math.trunc(Math.random() * 2 ** 31));
    const templates = fc.sample(anyTemplate, { numRuns: 20_000, seed });
    const [answer] = await watched.rows(
      "select array_agg(walhook.template_problem(t) order by n) as problems from unnest($1::text[]) with ordinality as t (t, n)",
      [templates],
    );
    const problems = answer?.["problems"] as readonly (string | null)[];
    const differing = templates
      .map((template, at) => ({ template, database: problems[at] ?? null, bridge: bridgeProblem(template) }))
      .filter(({ database, bridge }) => (database === null) !== (bridge === null));
    expect(differing, `WALHOOK_SEED=${seed}`).toEqual([]);
    // Both kinds are there, so that this can fail.
    expect(problems.filter((problem) => problem === null).length).toBeGreaterThan(1000);
    expect(problems.filter((problem) => problem !== null).length).toBeGreaterThan(1000);
  });

  it.each([
    ["{{doc..id}}", '"doc..id" is no name: a part of it is empty'],
    ["{{#json}}{{doc.id}}{{/json}}", "{{#json}} takes one name, as in {{#json}}doc.total{{/json}}"],
    ["{{^json}}doc.id{{/json}}", "{{#json}} takes one name, as in {{#json}}doc.total{{/json}}"],
    ["{{$block}}{{/block}}", "{{$block}}: blocks and parents do not exist here"],
    ["{{ }}", "{{}} names nothing"],
  ])("%s is refused at the INSERT with what is wrong", async (template, problem) => {
    const refused = await refusal(watched.webhook("w", "orders", "after_insert", { webhook_json: template }));
    expect(refused.message).toBe(`webhook "w": webhook_json: ${problem}`);
    expect(refused.hint).toContain("It is a Mustache template");
  });
});
