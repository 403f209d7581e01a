import { DecodeError } from "./decode-error.ts";
import type { OldKind, RelationMessage, Tuple } from "./pgoutput-message.ts";
import type { Relation } from "./relation.ts";
import type { Row } from "./row-change.ts";

/** A table as one Relation message describes it; what the catalog adds comes later. */
export interface RelationEntry {
  readonly message: RelationMessage;
  /** Null until the catalog has answered. */
  relation: Relation | null;
  isAskedFor: boolean;
}

/** A leaf of a partitioned table, from its own Relation message. */
export interface Leaf {
  readonly rootOid: number;
  readonly leafOid: number;
  readonly hasFullIdentity: boolean;
}

/** An old row, and whether all of it is known. */
export interface OldRow {
  readonly row: Row;
  readonly isFull: boolean;
}

/**
 * Which tables this connection has described, and what an old row of theirs is worth.
 *
 * With `publish_via_partition_root` a change carries the root's OID and the root's columns, but how much of the
 * old row was written depends on the replica identity of the *leaf* it happened in. Before the first change of
 * a leaf the server sends Relation(root), Relation(leaf), and then the change, which names the root: that is
 * how a leaf is known. Later changes do not tell their leaf.
 */
export class RelationTracker {
  readonly #entries = new Map<number, RelationEntry>();
  /** By root: by leaf without FULL: what its old rows consist of. */
  readonly #partialLeaves = new Map<number, Map<number, Identity>>();
  readonly #onLeaf: (leaf: Leaf) => void;
  #previous: RelationMessage | null = null;
  #latest: RelationMessage | null = null;

  constructor(onLeaf: (leaf: Leaf) => void) {
    this.#onLeaf = onLeaf;
  }

  describe(message: RelationMessage): void {
    this.#entries.set(message.oid, { message, relation: null, isAskedFor: false });
    this.#previous = this.#latest;
    this.#latest = message;
  }

  /** Throws a `DecodeError` for a table that has not been described. */
  entry(oid: number): RelationEntry {
    const entry = this.#entries.get(oid);
    if (entry === undefined) throw new DecodeError(`a change of table ${oid}, which no Relation message has described`);
    return entry;
  }

  /** Anything but a row change: what was described right before it was no leaf of it. */
  forgetOrder(): void {
    this.#previous = null;
    this.#latest = null;
  }

  /**
   * To be called for every row change, before its old row is asked for. Returns the leaf it surely happened in,
   * or null where the table has no leaves or nobody can say.
   */
  leafOfChange(rootOid: number): RelationMessage | null {
    const leaf = this.#latest;
    const isLeaf = leaf !== null && leaf.oid !== rootOid && this.#previous?.oid === rootOid;
    this.forgetOrder();
    if (!isLeaf) return null;
    const hasFullIdentity = leaf.identity === "f";
    const partial = this.#partialLeaves.get(rootOid) ?? new Map<number, Identity>();
    this.#partialLeaves.set(rootOid, partial);
    if (hasFullIdentity) partial.delete(leaf.oid);
    else partial.set(leaf.oid, identityOf(leaf));
    this.#onLeaf({ rootOid, leafOid: leaf.oid, hasFullIdentity });
    return leaf;
  }

  /** The row before a change, as far as the WAL carries it: what it does not carry is undefined, never NULL. */
  oldRow(message: RelationMessage, kind: OldKind, tuple: Tuple, leaf: RelationMessage | null): OldRow {
    if (kind === "K") return { row: keyColumnsOnly(message, tuple), isFull: false };
    let { values } = tuple;
    let isFull = tuple.oversized === null;
    for (const identity of this.#identities(message.oid, leaf)) {
      const isKnown = (index: number): boolean => identity.has(message.columns[index]?.name ?? "");
      // A leaf without FULL sends NULL for every column outside its identity.
      if (!tuple.values.every((value, index) => value === null || isKnown(index))) continue;
      values = values.map((value, index) => (isKnown(index) ? value : undefined));
      isFull = false;
    }
    return { row: values, isFull };
  }

  /** What an old row consists of where it is not whole: of the leaf it happened in, or of all it may have happened in. */
  #identities(rootOid: number, leaf: RelationMessage | null): readonly Identity[] {
    const partial = this.#partialLeaves.get(rootOid);
    if (partial === undefined || partial.size === 0) return [];
    if (leaf !== null) return leaf.identity === "f" ? [] : [identityOf(leaf)];
    // Leaves nearly always have the same identity, so a thousand of them are one question a row.
    const distinct = new Map([...partial.values()].map((identity) => [[...identity].join("\0"), identity]));
    return [...distinct.values()];
  }
}

/** Columns outside the identity are sent as NULL. Identity columns are NOT NULL, so a root without flags of its own is no trouble. */
function keyColumnsOnly(message: RelationMessage, tuple: Tuple): Row {
  const hasFlags = message.columns.some((column) => column.isKey);
  return tuple.values.map((value, index) => {
    const isKey = hasFlags ? message.columns[index]?.isKey === true : value !== null;
    return isKey ? value : undefined;
  });
}

/** The names of the columns of a replica identity. */
type Identity = ReadonlySet<string>;

function identityOf(message: RelationMessage): Identity {
  return new Set(message.columns.filter((column) => column.isKey).map((column) => column.name));
}
