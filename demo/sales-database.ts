import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import pg from "pg";

/** The demo's roles beside Walhook's own: three that are no superusers, as a real shop has them. */
const ROLES = `
  do $$
  begin
    if not exists (select from pg_roles where rolname = 'shop_owner') then
      create role shop_owner nologin;
      create role shop_app login;
      create role shop_admin login;
      create role shop_bridge login replication;
    end if;
  end $$`;

/** Makes the database and the shop's tables where they are not there yet. */
export async function createShop(urlOf: (database: string) => string): Promise<"created" | "found"> {
  const isNew = await withClient(urlOf("postgres"), async (client) => {
    await client.query(ROLES);
    const { rowCount } = await client.query("select from pg_database where datname = 'shop'");
    if (rowCount === 0) await client.query("create database shop owner shop_owner");
    return rowCount === 0;
  });
  if (!isNew && (await isComplete(urlOf("shop")))) return "found";
  await withClient(urlOf("shop"), async (client) => {
    // One transaction: a demo that is stopped meanwhile starts over with an empty database.
    await client.query("begin; set local role shop_owner");
    await client.query(await readFile(new URL("../demo/sales.sql", import.meta.url), "utf8"));
    await client.query("commit");
  });
  return "created";
}

/** The roles' rights on Walhook, once it is installed. */
const GRANTS = `
  grant shop_owner to walhook_owner;
  grant walhook_bridge to shop_bridge;
  grant walhook_admin to shop_admin`;

/** Sets the webhooks up by SQL, as shop_admin; at a later start it only tells them where the receiver is now. */
export async function createWebhooks(
  urlOf: (database: string, role?: string) => string,
  receiver: string,
): Promise<{ readonly secret: string; readonly names: readonly string[] }> {
  await withClient(urlOf("shop"), (client) => client.query(GRANTS));
  return withClient(urlOf("shop", "shop_admin"), async (client) => {
    const { rowCount } = await client.query("select from walhook.webhook");
    // The secret cannot be read back, so a start makes a new one.
    const secret = `whsec_${randomBytes(32).toString("base64")}`;
    if (rowCount === 0) {
      const script = await readFile(new URL("../demo/webhooks.sql", import.meta.url), "utf8");
      await client.query(script.replaceAll("${receiver}", receiver).replaceAll("${secret}", secret));
    } else {
      await client.query(
        `update walhook.webhook set webhook_secret = $2,
           request_url = regexp_replace(request_url, '^http://127\\.0\\.0\\.1:\\d+', $1)
         where request_url like 'http://127.0.0.1:%'`,
        [receiver, secret],
      );
    }
    const { rows } = await client.query<{ name: string }>("select name from walhook.webhook order by id");
    return { secret, names: rows.map((row) => row.name) };
  });
}

/** What the log says of these deliveries: how many have exactly one row that says `delivered`, and all rows. */
export async function countLogged(
  url: string,
  ids: readonly string[],
): Promise<{ readonly deliveredOnce: number; readonly rows: number; readonly queued: number }> {
  return withClient(url, async (client) => {
    const { rows } = await client.query<{ once: number; rows: number; queued: number }>(
      `select count(*) filter (where delivered = 1)::integer as once, coalesce(sum(attempts), 0)::integer as rows,
              (select count(*)::integer from walhook.webhook_queue) as queued
       from (
         select delivery_id, count(*) filter (where outcome = 'delivered') as delivered, count(*) as attempts
         from walhook.webhook_request_log where delivery_id = any ($1) group by delivery_id
       ) as deliveries`,
      [ids],
    );
    const [row] = rows;
    return { deliveredOnce: row?.once ?? 0, rows: row?.rows ?? 0, queued: row?.queued ?? 0 };
  });
}

async function isComplete(url: string): Promise<boolean> {
  return withClient(url, async (client) => {
    const { rows } = await client.query<{ found: boolean }>(
      "select to_regclass('public.audit_line') is not null as found",
    );
    return rows[0]?.found === true;
  });
}

async function withClient<T>(url: string, use: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url, application_name: "walhook demo" });
  client.on("error", () => {});
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}
