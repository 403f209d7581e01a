import type { Stage } from "../stage.ts";
import { markSql } from "./event-mark.ts";

const ROW = (number: string): string =>
  `${number}, ${number} % 100, 'Paid', 99.90, ${markSql(number)} || repeat('note ', 20)`;
const INTO = "insert into event (id, n, status, total, note)";
const ROWS_OF_A_TRANSACTION = 100;

/** The table of `../deliveries.ts`; its notes bear the events' marks. */
export const TABLE =
  "create table event (id bigint primary key, n integer not null, status text, total numeric, note text)";

/** A statement that inserts the row with number `$1`. */
export const ONE_ROW = `${INTO} select ${ROW("number")} from (values ($1::bigint)) v (number)`;

/** Commits events with the numbers `from` to `from + events - 1`, 100 a transaction, as fast as the server takes them. */
export async function insertBurst(stage: Stage, from: number, events: number): Promise<void> {
  await stage.app(`do $$ begin
    for part in 0..${Math.ceil(events / ROWS_OF_A_TRANSACTION) - 1} loop
      ${INTO} select ${ROW("number")}
        from generate_series(${from} + part * ${ROWS_OF_A_TRANSACTION},
          least(${from} + (part + 1) * ${ROWS_OF_A_TRANSACTION}, ${from} + ${events}) - 1) number;
      commit;
    end loop; end $$`);
}
