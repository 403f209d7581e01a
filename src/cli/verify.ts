import { EXIT_CODES } from "../errors.ts";
import type { Command, CommandContext, ValueFlag } from "./command.ts";
import { orUsageError, readInput, readNumber, readSecret, SECRET_FLAGS, usageError } from "./input.ts";
import { parseHeaders, splitRequest } from "./request-file.ts";
import { parseVerificationKeys } from "./verification/verification-key.ts";
import { SIGNATURE_HEADERS, type SignedRequest } from "./verification/signed-request.ts";
import { verifySignatures } from "./verification/verify-signatures.ts";

/** What all reference libraries of Standard Webhooks allow, both ways. */
export const TOLERANCE_SECONDS = 300;

/** Headers that may be given one by one, by flag. */
const HEADER_FLAGS: Readonly<Record<string, string>> = {
  id: "webhook-id",
  timestamp: "webhook-timestamp",
  signature: SIGNATURE_HEADERS.standard,
  "frappe-signature": SIGNATURE_HEADERS.frappe,
  "github-signature": SIGNATURE_HEADERS.github,
  "stripe-signature": SIGNATURE_HEADERS.stripe,
};

const VALUES: readonly ValueFlag[] = [
  ...SECRET_FLAGS,
  { flag: "request", unit: "path", help: "a whole request as it came over the wire; - is standard input" },
  { flag: "headers", unit: "path", help: "the headers: a line each, name: value, or a JSON object" },
  { flag: "body", unit: "path", help: "the body's bytes; default: standard input" },
  ...Object.entries(HEADER_FLAGS).map(([flag, header]) => ({ flag, unit: "value", help: `the header ${header}` })),
  { flag: "at", unit: "seconds", help: "the time that timestamps are compared with, since 1970; default: now" },
  { flag: "tolerance", unit: "seconds", help: `how far a timestamp may be off; default ${TOLERANCE_SECONDS}` },
];

/** `walhook verify`: whether a request's signatures are right, and why not. */
export const verify: Command = {
  name: "verify",
  summary: "says whether the signatures of a request are right, and if not, why",
  description: [
    "Verifies every signature that a request carries: webhook-signature (v1 and v1a), X-Frappe-Webhook-Signature, " +
      "X-Hub-Signature-256, Stripe-Signature. All that are there must be right.",
    "The secret is the webhook's own, or for v1a its public key (whpk_…); several, separated by spaces, where each has a " +
      "prefix. Needs no database.",
  ],
  options: [],
  switches: [],
  values: VALUES,
  examples: [
    "WEBHOOK_SECRET=whsec_… walhook verify --headers headers.txt --body body.json",
    "walhook verify --secret whpk_… --id msg_1 --timestamp 1614265330 --signature 'v1a,…' < body.json",
    "walhook verify --request captured.bin --at 1614265330",
  ],
  exitCodes: ["0  all signatures are right", "1  one is not, or there is none", "2  wrong flag, file or secret"],
  run: async (context) => {
    const { values, print } = context;
    const secret = await readSecret(context);
    if (secret === null) throw usageError("no secret given", "Set WEBHOOK_SECRET, or give --secret or --secret-file.");
    const keys = orUsageError(() => parseVerificationKeys(secret));
    const nowSeconds = readNumber(values, "at", 0, Number.MAX_SAFE_INTEGER, Math.floor(Date.now() / 1000));
    const toleranceSeconds = readNumber(values, "tolerance", 0, 31_536_000, TOLERANCE_SECONDS);
    const findings = verifySignatures(await readRequest(context), { keys, nowSeconds, toleranceSeconds });
    if (findings.size === 0)
      print(`refused: there is none of the headers ${Object.values(SIGNATURE_HEADERS).join(", ")}`);
    for (const [header, { ok, reason }] of findings) print(`${header}: ${ok ? "ok" : "refused"}, ${reason}`);
    const isGood = findings.size > 0 && [...findings.values()].every(({ ok }) => ok);
    return isGood ? 0 : EXIT_CODES.problem;
  },
};

async function readRequest({ values }: CommandContext): Promise<SignedRequest> {
  const isBodyRead = values["body"] !== undefined || values["request"] === undefined;
  const fromInput = [values["request"], values["headers"], isBodyRead ? (values["body"] ?? "-") : undefined];
  if (fromInput.filter((path) => path === "-").length > 1) {
    throw usageError("standard input cannot be read twice", "Give --body a file.");
  }
  const whole = values["request"] === undefined ? null : splitRequest(await readInput(values["request"]));
  const headers = whole === null ? {} : parseHeaders(whole.head);
  if (values["headers"] !== undefined) {
    Object.assign(headers, parseHeaders((await readInput(values["headers"])).toString("latin1")));
  }
  for (const [flag, header] of Object.entries(HEADER_FLAGS)) {
    const value = values[flag];
    if (value !== undefined) headers[header] = value;
  }
  const body = values["body"] === undefined && whole !== null ? whole.body : await readInput(values["body"] ?? "-");
  return { headers, body };
}
