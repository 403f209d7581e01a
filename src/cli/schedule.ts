import { connect, displayUrl } from "../db/connection.ts";
import { DEFAULT_RETRY_SCHEDULE_MS } from "../deliver/retry.ts";
import { ADMIN_HINT, explain } from "../errors.ts";
import type { Command } from "./command.ts";
import { EXCEPTIONS, timeline } from "./timeline.ts";

interface ScheduleRow {
  readonly name: string;
  /** Null: the default. */
  readonly delays: number[] | null;
  readonly on_exhausted: string;
}

const SCHEDULES = `
  select w.name, w.retry_schedule_ms::float8[] as delays, w.on_exhausted
  from walhook.webhook as w order by w.retry_schedule_ms is not null, w.name`;

/** `walhook schedule`: when failed deliveries are tried again. */
export const schedule: Command = {
  name: "schedule",
  summary: "prints when failed deliveries are tried again, webhook by webhook",
  description: [
    "Prints the default retry schedule and each webhook's own (walhook.webhook.retry_schedule) as a timeline. " +
      "Nothing is changed.",
  ],
  options: ["databaseUrl"],
  switches: [],
  examples: [
    "walhook schedule",
    `psql -c "update walhook.webhook set retry_schedule = '{5 s, 1 min, 1 h}' where name = 'w'"`,
  ],
  exitCodes: [],
  run: async ({ config, print }) => {
    const client = await connect(config.databaseUrl, "walhook schedule");
    try {
      const { rows } = await client.query<ScheduleRow>(SCHEDULES);
      const byDefault = rows.filter(({ delays }) => delays === null).map(({ name }) => name);
      print(`default${byDefault.length > 0 ? `, used by ${byDefault.join(", ")}` : ""}`);
      for (const line of timeline(DEFAULT_RETRY_SCHEDULE_MS)) print(line);
      for (const { name, delays, on_exhausted } of rows) {
        if (delays === null) continue;
        print("");
        print(on_exhausted === "hold" ? `${name}, holds its document then` : name);
        for (const line of timeline(delays)) print(line);
      }
      print("");
      for (const line of EXCEPTIONS) print(line);
      return 0;
    } catch (error) {
      throw explain(error, `reading walhook.webhook in ${displayUrl(config.databaseUrl)}`, ADMIN_HINT);
    } finally {
      await client.end();
    }
  },
};
