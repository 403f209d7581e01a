import { from, lastValueFrom, toArray } from "rxjs";
import { type Catalog, toRelation } from "../../../src/decode/catalog.ts";
import { decode } from "../../../src/decode/decode.ts";
import { START } from "../../../src/decode/position.ts";
import type { Row, RowChange } from "../../../src/decode/row-change.ts";
import type { DataFrame } from "./recording.ts";
import { KEYS } from "./script.ts";

/** A change without what differs from server to server: place, time, transaction id and OIDs. */
export interface GoldenChange {
  /** Counts the transactions that have changes. */
  readonly transaction: number;
  readonly table: string;
  readonly columns: string;
  readonly kind: RowChange["kind"];
  readonly old?: readonly (string | null)[] | null;
  readonly new?: readonly (string | null)[];
}

/** What stands for a value that the WAL does not carry, and for the long one. */
export const UNKNOWN = "(unknown)";
export const BIG = "(big)";

/** Decodes recorded frames as the bridge does, with a catalog that knows the script's keys. */
export async function decodeRecording(frames: readonly DataFrame[]): Promise<readonly GoldenChange[]> {
  const options = { catalog: CATALOG, configurationOids: new Map(), resumeAfter: START };
  const chunks = await lastValueFrom(from(frames).pipe(decode(options), toArray()));
  let transaction = 0;
  let last: bigint | null = null;
  return chunks
    .flatMap(({ changes }) => changes)
    .map((change) => {
      if (change.transaction.commitLsn !== last) transaction++;
      last = change.transaction.commitLsn;
      return toGolden(change, transaction);
    });
}

function toGolden(change: RowChange, transaction: number): GoldenChange {
  const { doctype: table, columns } = change.relation;
  const place = { transaction, table, columns: columns.map(({ name }) => name).join(" "), kind: change.kind };
  return {
    ...place,
    ...("old" in change ? { old: change.old === null ? null : legible(change.old) } : {}),
    ...("new" in change ? { new: legible(change.new) } : {}),
  };
}

function legible(row: Row): readonly (string | null)[] {
  return row.map((value) => (value === undefined ? UNKNOWN : value === "x".repeat(2100) ? BIG : value));
}

const CATALOG: Catalog = {
  describeRelation: async (message) => {
    const table = {
      isPartitioned: message.name === "root",
      key: KEYS[message.name] ?? [],
      partitionedBy: message.name === "root" ? ["part"] : [],
      references: [],
      columns: message.columns.map(({ name }) => ({ name, isGenerated: false })),
    };
    return toRelation(message, { tables: new Map([[message.oid, table]]), types: new Map() });
  },
};
