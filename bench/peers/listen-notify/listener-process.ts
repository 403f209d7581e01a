import pg from "pg";
import { Agent, request, setGlobalDispatcher } from "undici";

/**
 * The script that comes to mind first: LISTEN, and a request for each notification. Run as
 * `listener-process.js <database url> <endpoint> [connections]`; without a number, as many connections as it takes.
 */

const [databaseUrl = "", endpoint = "", connections] = process.argv.slice(2);
setGlobalDispatcher(new Agent({ connections: connections === undefined ? null : Number(connections) }));
const client = new pg.Client({ connectionString: databaseUrl, application_name: "listen-notify" });

client.on("notification", ({ payload }) => {
  void post(payload ?? "").catch((error: unknown) => console.error(error));
});

async function post(body: string): Promise<void> {
  const response = await request(endpoint, { method: "POST", headers: { "content-type": "application/json" }, body });
  await response.body.dump();
}

await client.connect();
await client.query("listen event");
