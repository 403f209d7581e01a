import type { DocEvent } from "../events/doc-event.ts";
import { rowAfter } from "../events/row-after.ts";
import { columnIndexes, oldOf } from "./condition-input.ts";
import type { Condition, Webhook } from "./webhook.ts";

/** Why nobody can say now, or ever, whether a webhook fires. */
export interface Obstacle {
  readonly kind: "undecidable" | "undecided";
  readonly reason: string;
}

/**
 * What stands between an event and its webhook before any condition is asked; null: nothing.
 * @param heldBecause why the webhook is held
 */
export function obstacleOf(webhook: Webhook, event: DocEvent, heldBecause: string | undefined): Obstacle | null {
  if (!event.isCertain) return { kind: "undecidable", reason: oldUnknown(event) };
  if (heldBecause !== undefined) return { kind: "undecided", reason: heldBecause };
  return webhook.condition === null ? null : missingValue(webhook.condition, event);
}

const REMEDY = "REPLICA IDENTITY FULL on the table (every partition included) makes it carry all values";

function oldUnknown(event: DocEvent): string {
  return `whether ${event.name} happened depends on the row before, which the WAL does not carry; ${REMEDY}`;
}

/** Why a condition cannot be asked about this change; null where it can. */
function missingValue(condition: Condition, { change }: DocEvent): Obstacle | null {
  const indexes = columnIndexes(condition, change);
  const doc = rowAfter(change);
  const old = oldOf(change);
  for (let i = 0; i < indexes.length; i++) {
    const index = indexes[i] ?? -1;
    const name = condition.columns[i];
    if (index < 0) {
      const reason = `the condition reads ${name}, which ${change.relation.doctype} no longer has; mend it with an UPDATE of walhook.webhook`;
      return { kind: "undecided", reason };
    }
    if (doc !== null && doc[index] === undefined) {
      return change.oversized?.includes(index) === true ? tooLarge(`doc.${name}`) : unknownValue(`doc.${name}`);
    }
    if (condition.usesOld && change.kind === "update" && old?.[index] === undefined) return unknownValue(`old.${name}`);
  }
  return null;
}

function unknownValue(name: string): Obstacle {
  const reason = `the condition could need ${name}, which the WAL does not carry for this change; ${REMEDY}`;
  return { kind: "undecidable", reason };
}

function tooLarge(name: string): Obstacle {
  const reason =
    `the condition could need ${name}, which makes the row larger than Walhook takes into memory; ` +
    "leave it out of the condition, or raise --max-row-bytes";
  return { kind: "undecidable", reason };
}
