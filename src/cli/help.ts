import { OPTION_SPECS, type OptionSpec } from "../config.ts";
import type { Command } from "./command.ts";

const WIDTH = 96;

/** `walhook --help`. */
export function overview(commands: readonly Command[], version: string): string {
  const names = Math.max(...commands.map((command) => command.name.length));
  return [
    `walhook ${version}: PostgreSQL row changes as signed webhooks, configured and logged in SQL.`,
    "",
    "Usage: walhook <command> [options]",
    "",
    "Commands:",
    ...commands.map((command) => `  ${command.name.padEnd(names)}  ${command.summary}`),
    "",
    "  walhook <command> --help  shows a command's options and examples",
    "  walhook --version         shows the version",
    "",
    "Begin with:",
    "  export DATABASE_URL=postgresql://postgres:secret@localhost:5432/shop",
    "  walhook install && walhook run",
    "",
    "TLS, in the connection string:",
    "  ?sslmode=require (or verify-full) encrypts and checks the certificate, which is more than libpq does;",
    "  &sslrootcert=/path/ca.pem names who signed it; sslmode=no-verify encrypts without checking;",
    "  &uselibpqcompat=true gives the modes the meaning that they have for psql",
    "",
    "Exit codes:",
    ...EXIT_CODE_LINES,
    "",
  ].join("\n");
}

const EXIT_CODE_LINES: readonly string[] = [
  "  0  done, or stopped as asked",
  "  1  `check` or `health` found a problem; or an error that nobody foresaw",
  "  2  wrong command, flag or option",
  "  3  the database is not as it must be (rights, wal_level, schema, slot): act as the message says",
  "  4  the database could not be reached or was busy: try again later",
  "  5  a gap: changes may be missing from the stream; see `walhook accept-gap`",
  "  6  another bridge took over while this one was frozen or cut off: start again, it waits",
];

/** `walhook <command> --help`. */
export function commandHelp(command: Command): string {
  const rows: (readonly [string, string])[] = [
    ...(command.operand === undefined ? [] : [[command.operand.unit, command.operand.help] as const]),
    ...command.options
      .map((name) => OPTION_SPECS[name])
      .map((spec) => [`--${spec.flag} <${spec.unit}>`, about(spec)] as const),
    ...(command.values ?? []).map((known) => [`--${known.flag} <${known.unit}>`, known.help] as const),
    ...command.switches.map((known) => [`--${known.flag}`, known.help] as const),
    ["--help", "this page"],
  ];
  const left = Math.max(...rows.map(([flag]) => flag.length)) + 4;
  return [
    `Usage: walhook ${[command.name, command.operand?.unit].filter((word) => word !== undefined).join(" ")} [options]`,
    "",
    ...command.description.flatMap((paragraph) => [...wrap(paragraph, WIDTH), ""]),
    "Options (a flag wins over its environment variable):",
    ...rows.flatMap(([flag, text]) => {
      const [first = "", ...more] = wrap(text, Math.max(40, WIDTH - left));
      return [`  ${flag.padEnd(left - 2)}${first}`, ...more.map((line) => " ".repeat(left) + line)];
    }),
    "",
    "Examples:",
    ...command.examples.map((example) => `  ${example}`),
    "",
    "Exit codes:",
    ...(command.exitCodes.length > 0 ? command.exitCodes.map((line) => `  ${line}`) : EXIT_CODE_LINES),
    "",
  ].join("\n");
}

function about(spec: OptionSpec): string {
  const fallback = spec.default === null ? "" : `; default ${spec.default}`;
  return `${spec.help}${fallback} [${spec.env}]`;
}

/** Breaks a paragraph at spaces into lines of at most `width` characters, where words allow. */
function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line];
}
