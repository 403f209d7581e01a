import type { Relation } from "../decode/relation.ts";
import type { Row, Transaction } from "../decode/row-change.ts";
import type { DocEvent } from "../events/doc-event.ts";
import { docname } from "../events/docname.ts";
import type { Conditions } from "../match/conditions.ts";
import { match, type WithoutRights, type Match } from "../match/match.ts";
import type { Webhook } from "../match/webhook.ts";
import type { ReadRow } from "./read-rows.ts";

export interface RowsToMatch {
  readonly rows: readonly ReadRow[];
  readonly relation: Relation;
  readonly backfillId: string;
  /** That of the watermark at which they are sent. */
  readonly transaction: Transaction;
  /** Undefined: it is gone. */
  readonly webhook: Webhook | undefined;
  readonly withoutRights: WithoutRights;
  readonly conditions: Pick<Conditions, "ask">;
}

/** What a webhook makes of rows that were read, in their order; the index of a change is that of its row. */
export async function matchRows(options: RowsToMatch): Promise<readonly Match[]> {
  const { rows, relation, backfillId, transaction, webhook, withoutRights, conditions } = options;
  if (webhook === undefined) return [];
  const events: DocEvent[] = [];
  const failed: Match[] = [];
  for (const [index, row] of rows.entries()) {
    const values = row.kind === "row" ? row.values : withKey(relation, row.key);
    const name = docname(relation, values);
    const { commitLsn } = transaction;
    const change = {
      kind: "insert" as const,
      transaction,
      relation,
      new: values,
      position: { commitLsn, changeLsn: commitLsn, index },
      ...(row.kind === "row" && row.oversized !== null ? { oversized: row.oversized } : {}),
    };
    const event = { name: "backfill", change, docname: name, oldDocname: null, isCertain: true, backfillId } as const;
    if (row.kind === "row") events.push(event);
    else
      failed.push({
        webhook,
        event,
        kind: "error",
        reason: `backfill ${backfillId} cannot read the row: ${row.reason}`,
      });
  }
  const watching = { onTable: () => new Map([["backfill" as const, [webhook]]]) };
  const found = await match(events, watching, withoutRights, conditions);
  if (failed.length === 0) return found;
  return [...found, ...failed].toSorted((a, b) => indexOf(a) - indexOf(b));
}

function indexOf({ event }: Match): number {
  return event.change.position.index;
}

function withKey({ columns, keyIndexes }: Relation, key: readonly string[]): Row {
  return columns.map((_, index) => key[keyIndexes.indexOf(index)]);
}
