/**
 * A body, URL or header needs a value that the WAL does not carry. Nothing is made up in its place:
 * the delivery is undecidable. The message names the value and the remedy.
 */
export class UnknownValueError extends Error {
  override readonly name = "UnknownValueError";
}

const REMEDY = "REPLICA IDENTITY FULL on the table (every partition included) makes it carry all values";

/** For a column of the document that an UPDATE left out of the WAL because it did not change. */
export function unchangedValue(doctype: string, column: string): UnknownValueError {
  return new UnknownValueError(
    `column "${column}" of ${doctype} did not change and is stored out of line (TOAST), so the WAL does not carry its value; ` +
      REMEDY,
  );
}

/** For a column whose value makes its row too large to be read, let alone sent. */
export function oversizedValue(doctype: string, column: string): UnknownValueError {
  return new UnknownValueError(
    `the value of column "${column}" of ${doctype} makes the row larger than Walhook takes into memory; ` +
      "leave it out of the request, or raise --max-row-bytes",
  );
}

/** For a column of the row before, or all of it. */
export function unknownOldValue(doctype: string, column?: string): UnknownValueError {
  return new UnknownValueError(
    `${column === undefined ? `the row of ${doctype}` : `the value of column "${column}" of ${doctype}`} before the change is not in the WAL; ` +
      REMEDY,
  );
}

/** For a generated column, which the stream does not carry. */
export function omittedValue(doctype: string, column: string): UnknownValueError {
  return new UnknownValueError(
    `column "${column}" of ${doctype} is generated and not part of the replication stream: ` +
      `stored ones are from PostgreSQL 18 on, virtual ones never`,
  );
}
