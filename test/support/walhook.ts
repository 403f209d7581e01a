import { randomBytes } from "node:crypto";
import { migrate } from "../../src/db/migrate.ts";
import type { TestDatabase } from "./database.ts";

/** Three login roles, none of them a superuser, with names of the test's own: roles belong to the whole cluster. */
export interface WalhookRoles {
  /** What the bridge connects as: REPLICATION, member of walhook_bridge. */
  readonly bridge: string;
  /** Who configures webhooks: member of walhook_admin. */
  readonly admin: string;
  /** Who owns the application's tables; walhook_owner may act for it. */
  readonly app: string;
  drop(): Promise<void>;
}

/** Installs Walhook as superuser, as a DBA would, and makes the three roles. */
export async function installWalhook(db: TestDatabase): Promise<WalhookRoles> {
  const client = await db.connect();
  await migrate(client);
  const suffix = randomBytes(4).toString("hex");
  const roles = { bridge: `bridge_${suffix}`, admin: `admin_${suffix}`, app: `app_${suffix}` };
  await client.query(`
    create role "${roles.bridge}" login replication in role walhook_bridge;
    create role "${roles.admin}" login in role walhook_admin;
    create role "${roles.app}" login;
    grant "${roles.app}" to walhook_owner;
  `);
  return {
    ...roles,
    /** After the database is gone, and with it everything they own. */
    drop: async () => {
      const { default: pg } = await import("pg");
      const admin = new pg.Client({ connectionString: db.url.replace(/\/[^/]*$/, "/postgres") });
      await admin.connect();
      await admin.query(`drop role if exists "${roles.bridge}", "${roles.admin}", "${roles.app}"`).catch(() => {});
      await admin.end();
    },
  };
}
