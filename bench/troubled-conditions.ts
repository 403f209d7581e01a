/** A condition that gives trouble whenever it is asked. */
export interface TroubledCondition {
  readonly name: string;
  readonly expression: string;
  /** Run before, as the webhook's author. */
  readonly createFunction: string;
}

export const TROUBLED_CONDITIONS: readonly TroubledCondition[] = [
  { name: "sleeps", expression: "pg_sleep(10) is not null and doc.id > 0", createFunction: "select" },
  { name: "fails", expression: "1 / (doc.id - doc.id) = 1", createFunction: "select" },
  {
    name: "catches its own cancellation",
    expression: "stubborn.holds(doc.id)",
    createFunction: `
      create schema stubborn;
      create function stubborn.holds(bigint) returns boolean language plpgsql as $$
      begin
        loop
          begin
            perform pg_sleep(10);
          exception when query_canceled then
            null;
          end;
        end loop;
      end $$`,
  },
];
