/**
 * Each event's row has a column with a mark that no JSON changes, so that the endpoint finds an event's number in the
 * body of any peer, whatever that body looks like.
 */
const MARK = /@(\d+)@/g;

/** SQL for the mark of the row whose number the SQL expression `number` gives. */
export function markSql(number: string): string {
  return `'@' || ${number} || '@'`;
}

/** The numbers of the events in a body, each once: one that has old and new values shows its mark twice. */
export function marksIn(body: string): ReadonlySet<number> {
  return new Set(Array.from(body.matchAll(MARK), ([, number]) => Number(number)));
}
