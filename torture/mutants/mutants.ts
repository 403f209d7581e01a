import type { Patch } from "../bridges/patches.ts";

/** Known mistakes, put back one at a time: the test must notice each. A mistake may take more than one patch. */
export const MUTANTS: readonly Patch[] = [
  {
    // What pg-logical-replication does with the LSN that it is given.
    name: "acknowledges LSN + 1",
    file: "replication/acknowledger.js",
    find: "this.#lsn === 0n ? 0n : this.#lsn - 1n",
    replace: "this.#lsn",
  },
  {
    name: "acknowledges what was only received",
    file: "replication/library-stream.js",
    find: 'if (frame.kind === "data")\n                this.#heldBytes += weightOf(frame);',
    replace: `if (frame.kind === "data") {
      this.#heldBytes += weightOf(frame);
      this.#acknowledger.acknowledge(frame.lsn);
    }`,
  },
  {
    name: "acknowledges a keepalive ahead of queued data",
    file: "replication/replication-stream.js",
    find: `stream?.receive({ kind: "keepalive", lsn: readLsn(lsn) });`,
    replace: `stream?.receive({ kind: "keepalive", lsn: readLsn(lsn) });
      stream?.acknowledge(readLsn(lsn));`,
  },
  {
    name: "subscribes again at the last received LSN",
    file: "replication/replication-stream.js",
    find: `service.on("data", (lsn, bytes) => `,
    replace: `service.on("data", (lsn, bytes) => { if (lsn !== "0/0") globalThis.received = lsn; });
      service.on("data", (lsn, bytes) => `,
  },
  {
    name: "subscribes again at the last received LSN",
    file: "replication/stream-plugin.js",
    find: "LOGICAL 0/0 (",
    replace: `LOGICAL \${globalThis.received ?? "0/0"} (`,
  },
  {
    name: "makes ids of the commit LSN alone",
    file: "render/delivery-id.js",
    find: "place = encodePlace(ofPosition);",
    replace: "place = encodePlace({ ...ofPosition, changeLsn: 0n, index: 0 });",
  },
  {
    name: "leaves the doc event out of the id",
    file: "render/delivery-id.js",
    find: "const number = DOC_EVENT_NUMBERS[docevent];",
    replace: "const number = 0;",
  },
  {
    name: "moves the cursor outside of the log's transaction",
    file: "record/checkpoint-writer.js",
    find: "await moveCursor(trx, plan);\n        });",
    replace: `});
      await torture.wait(500);
      await moveCursor(this.#db, plan);`,
  },
  {
    name: "writes log rows above the cursor",
    file: "record/tracker.js",
    find: "if (ticket.isDurable)\n            this.#durableRecords.push(record);",
    replace: "if (true) this.#durableRecords.push(record);",
  },
  {
    name: "does not check the epoch",
    file: "record/checkpoint-writer.js",
    find: "if (BigInt(epoch) === this.#epoch)",
    replace: "if (true)",
  },
  {
    name: "reads the cursor before START_REPLICATION has succeeded",
    file: "session.js",
    find: "const stream = await openReplication({",
    replace: `const early = await db.selectFrom("walhook.bridge")
      .select(["cursor_commit_lsn", "cursor_change_lsn", "cursor_index"]).executeTakeFirstOrThrow();
    const stream = await openReplication({`,
  },
  {
    name: "reads the cursor before START_REPLICATION has succeeded",
    file: "session.js",
    find: "const resumption = await takeOver(db, VERSION);",
    replace: `const lsnOf = (text) => text.split("/").reduce((lsn, part) => (lsn << 32n) | BigInt("0x" + part), 0n);
      const resumption = {
        ...(await takeOver(db, VERSION)),
        position: {
          commitLsn: lsnOf(early.cursor_commit_lsn),
          changeLsn: lsnOf(early.cursor_change_lsn),
          index: early.cursor_index,
        },
      };`,
  },
  {
    name: "ignores the order of a lane on retry",
    file: "record/tracker.js",
    find: "return { ticket, attempts, dueAtMs, lastError,",
    replace: "return { ticket, attempts, dueAtMs: dueAtMs ?? Date.now(), lastError,",
  },
  {
    name: "counts log rows in a transaction of its own",
    file: "record/checkpoint-writer.js",
    find: "await appendRollup(trx, counted);",
    replace: "",
  },
  {
    name: "counts log rows in a transaction of its own",
    file: "record/checkpoint-writer.js",
    find: "if (counted.length > 0 || plan.configuration.length > 0)\n            this.#onCounted();",
    replace: `await torture.wait(500);
      await appendRollup(this.#db, counted);
      if (counted.length > 0) this.#onCounted();`,
  },
  {
    name: "loses what is counted when it merges",
    file: "record/rollup-merger.js",
    find: "const AFTER_MS = 10_000;",
    replace: "const AFTER_MS = 100;",
  },
  {
    name: "loses what is counted when it merges",
    file: "record/rollup-merger.js",
    find: "select walhook.merge_rollup()",
    replace: "select walhook.merge_rollup(), walhook.trim_rollup('-1 hour')",
  },
  {
    name: "backfills rows that changed while they were read",
    file: "backfill/meet-watermark.js",
    find: "matches: matches.filter(({ event }) => !isAmong(unseen.sent, event.docname)),",
    replace: "matches,",
  },
  {
    name: "backfills rows that changed while they were read",
    file: "backfill/backfiller.js",
    find: `await this.#store.mark(id, chunk.token, "high");`,
    replace: `await torture.wait(200); await this.#store.mark(id, chunk.token, "high");`,
  },
  {
    name: "takes a backfill for done that was only interrupted",
    file: "backfill/backfiller.js",
    find: `await chunk.durable.promise;
        // Also resolved by \`close\`, and then it is not durable.
        if (this.#abort.signal.aborted)
            return false;`,
    replace: "await chunk.durable.promise;",
  },
  {
    name: "takes what it replays next in a transaction of its own",
    file: "record/replayer.js",
    find: "const ids = items.map(({ delivery_id }) => delivery_id);",
    replace: `await client.query("commit");
      if (items.length > 0) await torture.wait(500);
      await client.query("begin");
      const ids = items.map(({ delivery_id }) => delivery_id);`,
  },
];
