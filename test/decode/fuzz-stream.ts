import type { Lsn } from "../../src/replication/lsn.ts";
import { type LengthField, MessageWriter, type WrittenMessage, type WrittenValue } from "./message-writer.ts";

/** A frame that can be damaged. */
export type FuzzFrame =
  | { readonly kind: "data"; readonly lsn: Lsn; readonly bytes: Buffer; readonly lengths: readonly LengthField[] }
  | { readonly kind: "keepalive"; readonly lsn: Lsn };

/** A whole number in [0, n). */
export type Below = (n: number) => number;

interface Table {
  readonly oid: number;
  readonly name: string;
  readonly identity: "d" | "f" | "n" | "i";
  readonly columns: readonly string[];
  readonly keys: number;
}

export const WEBHOOK_OID = 50;
export const ROOT_OID = 30;
const PLAIN: Table = { oid: 10, name: "plain", identity: "d", columns: ["id", "note", "big"], keys: 1 };
const WHOLE: Table = { oid: 20, name: "Gänze", identity: "f", columns: ["id", "docstatus"], keys: 2 };
const ROOT: Table = { oid: ROOT_OID, name: "root", identity: "d", columns: ["id", "part", "note"], keys: 2 };
const LEAF: Table = { ...ROOT, oid: 40, name: "leaf" };
const WEBHOOK: Table = { oid: WEBHOOK_OID, name: "webhook", identity: "f", columns: ["id", "name"], keys: 2 };
const TABLES = [PLAIN, WHOLE, ROOT, WEBHOOK];

/** A valid stream: some transactions with messages of every kind, keepalives, and messages outside of transactions. */
export function makeStream(below: Below): FuzzFrame[] {
  const frames: FuzzFrame[] = [];
  const described = new Set<Table>();
  let lsn = 0x1_0000_0000n * BigInt(below(3)) + BigInt(1000 + below(1000));
  const forward = (): Lsn => (lsn += BigInt(below(60)));
  const send = (at: Lsn, message: WrittenMessage): void => void frames.push({ kind: "data", lsn: at, ...message });
  const describe = (table: Table): void => {
    if (described.has(table)) return;
    described.add(table);
    if (below(2) === 0) send(0n, new MessageWriter("Y").int32(900).name("public").name("mood").done());
    send(0n, relation(table));
    if (table === ROOT && below(2) === 0) send(0n, relation({ ...LEAF, identity: below(2) === 0 ? "d" : "f" }));
  };
  for (let t = 1 + below(4); t > 0; t--) {
    while (below(3) === 0) frames.push({ kind: "keepalive", lsn: forward() });
    if (below(6) === 0) send(forward(), logicalMessage(0, lsn, below));
    const first = forward();
    const commitLsn = first + 500n;
    const time = BigInt(below(2 ** 30)) * 1000n;
    send(
      commitLsn,
      new MessageWriter("B")
        .int64(commitLsn)
        .int64(time)
        .int32(below(2 ** 32))
        .done(),
    );
    if (below(6) === 0) send(0n, new MessageWriter("O").int64(1n).name("elsewhere").done());
    for (let c = below(8); c > 0; c--) {
      const table = TABLES[below(TABLES.length)] as Table;
      describe(table);
      if (below(20) === 0) described.delete(table);
      if (below(8) === 0) send(forward(), logicalMessage(1, lsn, below));
      for (const message of changes(table, below)) send(forward(), message);
    }
    if (below(5) === 0) {
      for (const table of [PLAIN, WHOLE]) describe(table);
      const truncate = new MessageWriter("T").count32(2).int8(below(4)).int32(PLAIN.oid).int32(WHOLE.oid);
      send(forward(), truncate.done());
    }
    lsn = commitLsn + BigInt(30 + below(30));
    send(lsn, new MessageWriter("C").int8(0).int64(commitLsn).int64(lsn).int64(time).done());
  }
  return frames;
}

function relation({ oid, name, identity, columns, keys }: Table): WrittenMessage {
  const writer = new MessageWriter("R").int32(oid).name("public").name(name).int8(identity).count16(columns.length);
  for (const [index, column] of columns.entries()) {
    writer
      .int8(index < keys ? 1 : 0)
      .name(column)
      .int32(index === 0 ? 23 : 25)
      .int32(0xffff_ffff);
  }
  return writer.done();
}

function logicalMessage(flags: number, lsn: Lsn, below: Below): WrittenMessage {
  const content = Buffer.alloc(below(40), 0x61);
  return new MessageWriter("M").int8(flags).int64(lsn).name("prefix").count32(content.length).bytes(content).done();
}

/** One change, or the DELETE and the INSERT of a row that moves. */
function changes(table: Table, below: Below): WrittenMessage[] {
  const id = Buffer.from(String(below(5)));
  const row = (): WrittenValue[] => [id, ...table.columns.slice(1).map(() => value(below, table !== WEBHOOK))];
  const key = (): WrittenValue[] => table.columns.map((_, index) => (index < table.keys ? id : null));
  const old = (): readonly [string, WrittenValue[]] => (table.identity === "f" ? ["O", row()] : ["K", key()]);
  const insert = (): WrittenMessage => new MessageWriter("I").int32(table.oid).int8("N").tuple(row()).done();
  const remove = (): WrittenMessage => {
    const [kind, tuple] = old();
    return new MessageWriter("D").int32(table.oid).int8(kind).tuple(tuple).done();
  };
  switch (below(5)) {
    case 0:
    case 1:
      return [insert()];
    case 2: {
      const writer = new MessageWriter("U").int32(table.oid);
      if (below(2) === 0) {
        const [kind, tuple] = old();
        writer.int8(kind).tuple(tuple);
      }
      return [writer.int8("N").tuple(row()).done()];
    }
    case 3:
      return [remove()];
    default:
      return table === ROOT ? [remove(), insert()] : [insert(), insert()];
  }
}

function value(below: Below, mayBeUnchanged: boolean): WrittenValue {
  switch (below(8)) {
    case 0:
      return null;
    case 1:
      return mayBeUnchanged ? undefined : null;
    case 2:
      return Buffer.alloc(0);
    case 3:
      return Buffer.from([0xff, 0xfe, below(256)]);
    case 4:
      return Buffer.alloc(below(3000), "ä");
    default:
      return Buffer.from(String(below(1000)));
  }
}
