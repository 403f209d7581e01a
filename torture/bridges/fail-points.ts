import type { Patch } from "./patches.ts";

/** Places before and after each durable step at which a bridge may die, or stand still. */
export const FAIL_POINTS = [
  {
    name: "after START_REPLICATION",
    file: "session.js",
    find: "parts.defer(() => stream.stop());",
    replace: `parts.defer(() => stream.stop()); torture.pass("after START_REPLICATION");`,
  },
  {
    name: "after the epoch was raised",
    file: "session.js",
    find: "const inForce = new InForce(resumption.inForce);",
    replace: `torture.pass("after the epoch was raised"); const inForce = new InForce(resumption.inForce);`,
  },
  {
    name: "before a request",
    file: "deliver/courier.js",
    find: "const made = await attempt(",
    replace: `torture.pass("before a request"); const made = await attempt(`,
  },
  {
    name: "after an answer",
    file: "deliver/courier.js",
    find: "desk.end(parcel, isOfNow ? made.result : null, {",
    replace: `torture.pass("after an answer"); desk.end(parcel, isOfNow ? made.result : null, {`,
  },
  {
    name: "before a checkpoint",
    file: "record/recorder.js",
    find: "const queueDelta = plan.isWorthWriting ?",
    replace: `if (plan.isWorthWriting) torture.pass("before a checkpoint");
      const queueDelta = plan.isWorthWriting ?`,
  },
  {
    name: "after the log was copied",
    file: "record/checkpoint-writer.js",
    find: "await copyToLog(this.#client, plan.records);",
    replace: `await copyToLog(this.#client, plan.records); torture.pass("after the log was copied");`,
  },
  {
    name: "before COMMIT",
    file: "record/checkpoint-writer.js",
    find: "await releaseLanes(trx, changes);",
    replace: `await releaseLanes(trx, changes); torture.pass("before COMMIT");`,
  },
  {
    name: "after COMMIT",
    file: "record/recorder.js",
    find: "const parked = tracker.committed(plan);",
    replace: `torture.pass("after COMMIT"); const parked = tracker.committed(plan);`,
  },
  {
    name: "after acknowledging",
    file: "record/recorder.js",
    find: "onDurable({ flushLsn: plan.flushLsn, bytes: plan.bytes, tickets: plan.tickets, parked, queueDelta });",
    replace: `onDurable({ flushLsn: plan.flushLsn, bytes: plan.bytes, tickets: plan.tickets, parked, queueDelta });
      torture.pass("after acknowledging");`,
  },
  {
    name: "inside a huge transaction",
    file: "decode/decode.js",
    find: "if (changes >= this.#maxChanges || bytes >= this.#maxBytes)",
    replace: `if (changes >= this.#maxChanges) torture.pass("inside a huge transaction");
      if (changes >= this.#maxChanges || bytes >= this.#maxBytes)`,
  },
] as const satisfies readonly Patch[];

export type FailPointName = (typeof FAIL_POINTS)[number]["name"];
