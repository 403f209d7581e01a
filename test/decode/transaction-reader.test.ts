import { describe, expect, it } from "vitest";
import type { Pending } from "../../src/decode/pending.ts";
import { START } from "../../src/decode/position.ts";
import { RelationTracker } from "../../src/decode/relation-tracker.ts";
import { TransactionReader } from "../../src/decode/transaction-reader.ts";
import { MessageWriter, type WrittenMessage } from "./message-writer.ts";

const begin = (commitLsn: bigint): WrittenMessage => new MessageWriter("B").int64(commitLsn).int64(0n).int32(1).done();
const commit = (commitLsn: bigint, endLsn: bigint): WrittenMessage =>
  new MessageWriter("C").int8(0).int64(commitLsn).int64(endLsn).int64(0n).done();

function read(...messages: readonly WrittenMessage[]): readonly Pending[] {
  const reader = new TransactionReader(new RelationTracker(() => {}), new Map(), START);
  const pending: Pending[] = [];
  for (const { bytes } of messages) reader.read({ kind: "data", lsn: 0n, bytes }, pending);
  return pending;
}

describe("the transaction reader", () => {
  it("takes the end of a transaction from its Commit", () => {
    expect(read(begin(100n), commit(100n, 148n))).toMatchObject([{ type: "commit", commitLsn: 100n, endLsn: 148n }]);
  });

  it("refuses a Commit of another transaction than the one that began: what is acknowledged rests on it", () => {
    expect(() => read(begin(100n), commit(101n, 148n))).toThrow("was to commit at 0/64");
  });

  it("refuses a Commit that ends where it begins or before", () => {
    expect(() => read(begin(100n), commit(100n, 100n))).toThrow("ends at 0/64");
    expect(() => read(begin(100n), commit(100n, 99n))).toThrow("ends at 0/63");
  });

  it("refuses a Commit without a Begin, and a Begin inside of a transaction", () => {
    expect(() => read(commit(100n, 148n))).toThrow("outside of a transaction");
    expect(() => read(begin(100n), begin(200n))).toThrow("begins inside another one");
  });
});
