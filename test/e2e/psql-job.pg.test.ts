import { execFile, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startSystem, type System } from "../support/system.ts";

const SCRIPT = fileURLToPath(new URL("../../docs/psql-job.sql", import.meta.url));
const psql = spawnSync("psql", ["--version"]).stdout?.toString() ?? "";

let system: System;
const analyst = `analyst_${randomBytes(4).toString("hex")}`;

beforeAll(async () => {
  system = await startSystem("psql_job");
  await system.look(`create role ${analyst} login in role walhook_analyst; grant usage on schema public to ${analyst}`);
  await system.startBridge();
  system.receiver.answer(({ path }) => (path === "/down" ? { status: 500, body: "no" } : {}));
});
afterAll(async () => {
  await system.look(`drop owned by ${analyst}; drop role ${analyst}`);
  await system.drop();
});

describe.skipIf(psql === "")(
  `a DBA's and an analyst's whole job, by ${psql.trim() || "psql, which is not installed here: skipped"}`,
  () => {
    it("is done by docs/psql-job.sql, and nobody in it is a superuser", async () => {
      const { admin, app } = system.roles;
      const options = { admin, analyst, app, url: system.receiver.url, ON_ERROR_STOP: "1" };
      const args = [
        "-X",
        "-At",
        ...Object.entries(options).flatMap(([name, value]) => ["-v", `${name}=${value}`]),
        "-f",
        SCRIPT,
        system.db.urlAs(admin),
      ];
      const { stdout, stderr } = await promisify(execFile)("psql", args, {
        env: { ...process.env, PGOPTIONS: "-c client_min_messages=warning" },
      });
      const lines = stdout.split("\n");
      expect(lines.slice(-2)).toEqual(["done", ""]);
      expect(stderr.match(/^.*ERROR.*$/gm)).toEqual([expect.stringContaining("column doc.state does not exist")]);

      for (const line of [
        `t|POST|${system.receiver.url}/paid|{"order":5,"amount":50}|t`,
        `paid|1|test|delivered|200|{"order":1,"amount":99.90}`,
        `paid|1|live|delivered|200|{"order":1,"amount":99.90}`,
        "1|1",
        "paid|done|1|1",
        "t|maintenance of the ERP",
      ]) {
        expect(lines).toContain(line);
      }
      expect(lines.find((line) => line.startsWith("running|"))).toMatch(/^running\|[a-z]+\|t\|$/);
      expect(lines.filter((line) => line.startsWith("paid|on_change|sent|"))).toHaveLength(2);
      expect(lines.filter((line) => line.startsWith("down|3|") || line.startsWith("down|4|"))).toEqual(
        expect.arrayContaining([
          expect.stringMatching(/^down\|3\|1\|.*500/),
          expect.stringMatching(/^down\|4\|1\|.*500/),
          expect.stringMatching(/^down\|3\|\d\|delivered$/),
        ]),
      );
      expect(lines.filter((line) => line.startsWith("backfill|"))).toEqual([
        expect.stringMatching(/^backfill.paid.done.1.100/),
      ]);
      expect(lines).toContain("expunged|");
      expect(system.received("mended")).toHaveLength(1);
      expect(system.received("mended")[0]!.headers["webhook-id"]).toBe(
        system.received("down")[0]!.headers["webhook-id"],
      );
      const supers = await system.look("select rolname from pg_roles where rolsuper and rolname = any ($1)", [
        [admin, analyst, app],
      ]);
      expect(supers).toEqual([]);
    });
  },
);
