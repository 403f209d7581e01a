import { expect, it } from "vitest";
import { migrate } from "../../src/db/migrate.ts";
import { createDatabase } from "../support/database.ts";

it.each(["webhook", "webhook_header", "webhook_data", "webhook_secret"])(
  "walhook.%s cannot be truncated, not even by a superuser: the bridge learns of configuration from row changes",
  async (table) => {
    await using db = await createDatabase("truncate");
    await migrate(await db.connect());
    await expect(db.query(`truncate walhook.${table} cascade`)).rejects.toMatchObject({
      message: expect.stringContaining("cannot be truncated"),
      hint: expect.stringContaining("delete from"),
    });
  },
);
