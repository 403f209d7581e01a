import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type Lsn, formatLsn, parseLsn } from "../../../src/replication/lsn.ts";

/** Frames as one server sent them. */
export interface Recording {
  /** `14.23` */
  readonly server: string;
  readonly frames: readonly DataFrame[];
}

export interface DataFrame {
  readonly kind: "data";
  readonly lsn: Lsn;
  readonly bytes: Buffer;
}

const FOLDER = fileURLToPath(new URL(".", import.meta.url));

/** The recordings that are stored, by major version: a line a frame, its LSN and its bytes in hex. */
export function readRecordings(): readonly Recording[] {
  return readdirSync(FOLDER)
    .filter((file) => file.endsWith(".txt"))
    .toSorted()
    .map((file) => {
      const [server, ...lines] = readFileSync(`${FOLDER}${file}`, "utf8").trimEnd().split("\n");
      return { server: server ?? "", frames: lines.map(readFrame) };
    });
}

export function writeRecording({ server, frames }: Recording): void {
  const lines = frames.map(({ lsn, bytes }) => `${formatLsn(lsn)} ${toHex(bytes)}`);
  writeFileSync(`${FOLDER}${server.split(".")[0]}.txt`, `${[server, ...lines].join("\n")}\n`);
}

function readFrame(line: string): DataFrame {
  const [lsn = "", hex = ""] = line.split(" ");
  const whole = hex.replace(/(..)\{(\d+)\}/g, (_, byte: string, times: string) => byte.repeat(Number(times)));
  return { kind: "data", lsn: parseLsn(lsn), bytes: Buffer.from(whole, "hex") };
}

/** Hex, with a byte that is repeated often as `78{2100}`. */
function toHex(bytes: Buffer): string {
  let hex = "";
  for (let at = 0; at < bytes.length;) {
    let end = at + 1;
    while (end < bytes.length && bytes[end] === bytes[at]) end++;
    hex += end - at < 20 ? bytes.toString("hex", at, end) : `${bytes.toString("hex", at, at + 1)}{${end - at}}`;
    at = end;
  }
  return hex;
}
