import { randomBytes } from "node:crypto";
import { formatProblem, signatureHeaders } from "../deliver/sign.ts";
import { decodeKey } from "../deliver/signing-key.ts";
import type { SignatureFormat } from "../match/webhook.ts";
import type { Command } from "./command.ts";
import { orUsageError, readInput, readNumber, readSecret, SECRET_FLAGS, usageError } from "./input.ts";
import { splitSecrets } from "./verification/verification-key.ts";
import { SIGNATURE_HEADERS } from "./verification/signed-request.ts";

/** `walhook sign`: the headers that Walhook would send. */
export const sign: Command = {
  name: "sign",
  summary: "prints the headers that sign a body, to try a receiver",
  description: [
    "Signs a body as the bridge does, and prints a line for each header. With several secrets, separated by spaces and " +
      "the oldest first, each signs. Needs no database.",
  ],
  options: [],
  switches: [],
  values: [
    ...SECRET_FLAGS,
    { flag: "body", unit: "path", help: "the body's bytes; default: standard input" },
    { flag: "id", unit: "id", help: "the webhook-id; default: a new one" },
    { flag: "timestamp", unit: "seconds", help: "the webhook-timestamp, since 1970; default: now" },
    {
      flag: "formats",
      unit: "list",
      help: "some of standard, frappe, github, stripe, separated by commas; default standard",
    },
  ],
  examples: [
    "export WEBHOOK_SECRET=whsec_…",
    "walhook sign --body event.json",
    "walhook sign --body event.json | curl -H @- --data-binary @event.json http://localhost:8080/",
  ],
  exitCodes: ["0  done", "2  wrong flag, file or secret"],
  run: async (context) => {
    const { values, print } = context;
    const secret = await readSecret(context);
    if (secret === null) throw usageError("no secret given", "Set WEBHOOK_SECRET, or give --secret or --secret-file.");
    const keys = orUsageError(() => splitSecrets(secret).map((text) => decodeKey(text)));
    const formats = parseFormats(values["formats"] ?? "standard");
    const problem = formatProblem(keys, formats);
    if (problem !== null) throw usageError(problem, "Give a whsec_ secret as well, or other formats.");
    const id = values["id"] ?? `msg_${randomBytes(16).toString("hex")}`;
    const timestampSeconds = readNumber(values, "timestamp", 0, Number.MAX_SAFE_INTEGER, Math.floor(Date.now() / 1000));
    const body = await readInput(values["body"] ?? "-");
    for (const [name, value] of signatureHeaders({ keys, formats, id, timestampSeconds, body }))
      print(`${name}: ${value}`);
    return 0;
  },
};

function parseFormats(text: string): readonly SignatureFormat[] {
  const known = Object.keys(SIGNATURE_HEADERS) as SignatureFormat[];
  return text.split(",").map((word) => {
    const format = known.find((name) => name === word.trim());
    if (format === undefined) throw usageError(`--formats has "${word.trim()}"`, `Use some of: ${known.join(", ")}.`);
    return format;
  });
}
