import type pg from "pg";
import { connect, connectionConfig, displayUrl } from "../db/connection.ts";
import { ADMIN_HINT, EXIT_CODES, explain, isRaised, WalhookError } from "../errors.ts";
import { Conditions } from "../match/conditions.ts";
import { Previewer } from "../preview/previewer.ts";
import type { Previewed, PreviewQuestion } from "../preview/preview-question.ts";
import type { Command, CommandContext } from "./command.ts";
import { readNumber, usageError } from "./input.ts";
import { printable } from "./printable.ts";

const QUESTION = `
  select walhook.whole_question($1, $2, $3, $4, $5::jsonb, $6, current_setting('search_path'), $7,
    to_timestamp($8::float8), $9::pg_lsn, $10::bigint, $11::timestamptz) as question`;

const RIGHTS = `
  select current_user as role, has_table_privilege('walhook.webhook_secret', 'select') as may_sign,
         has_function_privilege('walhook.ask(text, text[], text[], text[])', 'execute') as may_ask`;

interface Rights {
  readonly role: string;
  readonly may_sign: boolean;
  readonly may_ask: boolean;
}

/** `walhook preview`: what `walhook.preview` shows, without a running bridge. */
export const preview: Command = {
  name: "preview",
  summary: "prints the requests that a webhook would send for rows that exist now; sends nothing",
  description: [
    "Prints whether the webhook fires for a document, and the exact request with its signature, as walhook.preview does in " +
      "SQL by asking the running bridge. This needs none.",
    "The role must be able to be the webhook's author: walhook_admin, with SELECT on its table. To ask the condition and to " +
      "sign it needs walhook_bridge as well; a superuser has all that.",
  ],
  options: ["databaseUrl", "conditionTimeoutMs", "maxBodyBytes", "secretsFolder"],
  switches: [{ flag: "json", help: "prints one JSON object for each document, in a line" }],
  values: [
    { flag: "webhook", unit: "name", help: "the webhook" },
    { flag: "docname", unit: "name", help: "the document; default: the newest one" },
    { flag: "condition", unit: "sql", help: "instead of --docname: the rows where it is true, doc.total > 100" },
    { flag: "event", unit: "event", help: "the doc event; default: the webhook's first one" },
    { flag: "old", unit: "json", help: 'what columns were before the change: {"status": "Draft"}' },
    { flag: "max-rows", unit: "rows", help: "how many documents at most; default 10" },
    { flag: "id", unit: "id", help: "the delivery's id; default: a new one" },
    { flag: "timestamp", unit: "seconds", help: "the webhook-timestamp, since 1970; default: now" },
    { flag: "lsn", unit: "lsn", help: "the commit's LSN; default: as the log has it of --id, or the end of the WAL" },
    { flag: "xid", unit: "number", help: "its transaction; default: as the log has it, or who wrote the row last" },
    { flag: "commit-time", unit: "time", help: "when it was committed; default: as the log has it, or now" },
  ],
  examples: [
    "walhook preview --webhook new-order --docname 42",
    `walhook preview --webhook paid --condition "doc.total > 100" --old '{"status": "Draft"}'`,
    "walhook preview --webhook new-order --docname 42 --json | jq -r .body",
  ],
  exitCodes: [],
  run: async (context) => {
    const { config, switches, values, print } = context;
    if (values["webhook"] === undefined) throw usageError("no webhook given", "Give --webhook and its name.");
    const client = await connect(config.databaseUrl, "walhook preview");
    try {
      const { rows } = await client.query<{ question: PreviewQuestion }>(QUESTION, parametersOf(context));
      const previews = await answer(client, rows[0]!.question, context);
      for (const [index, shown] of previews.entries()) {
        if (switches.has("json")) print(JSON.stringify(shown));
        else printPreview(shown, index > 0, print);
      }
      if (previews.length === 0 && !switches.has("json")) print("no row fits the condition");
      return 0;
    } catch (error) {
      throw mistake(error) ?? explain(error, `previewing in ${displayUrl(config.databaseUrl)}`, RIGHTS_HINT);
    } finally {
      await client.end();
    }
  },
};

/** Codes by which Walhook's functions refuse what is no mistake of the command line: a right is missing, a table is gone. */
const OF_THE_DATABASE: readonly string[] = ["42501", "55000"];
const RIGHTS_HINT = `${ADMIN_HINT} and SELECT on the webhook's table.`;
/** Class of errors of a value that is no JSON, LSN, number or time. */
const DATA_EXCEPTION = "22";

/** What the question is refused with, in its own words; null: it was not the question. */
function mistake(error: unknown): WalhookError | null {
  const {
    code = "",
    message,
    detail,
    hint,
  } = error as { code?: string; message: string; detail?: string; hint?: string };
  if (!isRaised(error) && !code.startsWith(DATA_EXCEPTION)) return null;
  return new WalhookError(detail === undefined ? message : `${message} (${detail})`, {
    code: "refused",
    exitCode: OF_THE_DATABASE.includes(code) ? EXIT_CODES.database : EXIT_CODES.usage,
    hint: hint ?? (isRaised(error) ? null : "It is the value of --old, --lsn, --xid or --commit-time."),
    cause: error,
  });
}

function parametersOf({ values }: CommandContext): unknown[] {
  const timestamp = values["timestamp"] === undefined ? null : readNumber(values, "timestamp", 0, 253_402_300_799, 0);
  return [
    values["webhook"],
    values["docname"] ?? null,
    values["event"] ?? null,
    values["condition"] ?? null,
    values["old"] ?? null,
    readNumber(values, "max-rows", 1, 1_000_000, 10),
    values["id"] ?? null,
    timestamp,
    values["lsn"] ?? null,
    values["xid"] ?? null,
    values["commit-time"] ?? null,
  ];
}

async function answer(
  client: pg.Client,
  question: PreviewQuestion,
  { config, env }: CommandContext,
): Promise<readonly Previewed[]> {
  const { role, may_sign, may_ask } = (await client.query<Rights>(RIGHTS)).rows[0]!;
  const conditions = new Conditions({
    connection: connectionConfig(config.databaseUrl, "walhook preview"),
    timeoutMs: config.conditionTimeoutMs,
  });
  const unasked = { kind: "undecided", message: `the condition was not asked: role ${role} may not` } as const;
  try {
    const previewer = await Previewer.open(client, question, {
      conditions: may_ask ? conditions : { askParked: () => Promise.resolve(unasked) },
      places: { env, folder: config.secretsFolder },
      maxBodyBytes: config.maxBodyBytes,
      unsignedBecause: may_sign ? null : `not signed here: role ${role} may not read walhook.webhook_secret`,
    });
    const previews: Previewed[] = [];
    for await (const shown of previewer.previews()) previews.push(shown);
    return previews;
  } finally {
    await conditions.close();
  }
}

function printPreview(shown: Previewed, isFurther: boolean, print: (line: string) => void): void {
  if (isFurther) print("");
  const subject = shown.docname === null ? shown.event : `${shown.docname} ${shown.event}`;
  const verdict = shown.fires ? "fires" : "does not fire";
  print(printable(`${subject}: ${verdict}${shown.reason === null ? "" : ` (${shown.reason})`}`));
  if (shown.url === null) return;
  print(printable(`${shown.method} ${shown.url}`));
  for (const [name, value] of Object.entries(shown.headers ?? {})) print(printable(`${name}: ${value}`));
  print("");
  print(printable(shown.body ?? ""));
}
