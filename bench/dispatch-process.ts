import { createHmac } from "node:crypto";
import { Agent } from "undici";

/**
 * The ceiling of one event a request: the same requests through undici's `dispatch`, signed, so many at a time, and
 * nothing else. Run as `dispatch-process.js <url> <requests> <concurrency> <body bytes>`.
 */

const [url = "", requests = "0", concurrency = "50", bodyBytes = "600"] = process.argv.slice(2);
const { origin, pathname } = new URL(url);
const agent = new Agent({ connections: null, pipelining: 1 });
const body = Buffer.alloc(Number(bodyBytes), "x");
const key = Buffer.alloc(24, "k");
let started = 0;
let ended = 0;

function next(): void {
  if (started >= Number(requests)) return;
  const id = `msg_${String(started++).padStart(48, "0")}`;
  const timestamp = String(Math.floor(Date.now() / 1000));
  const signature = createHmac("sha256", key).update(`${id}.${timestamp}.`).update(body).digest("base64");
  const frappe = createHmac("sha256", key).update(body).digest("base64");
  const headers = ["content-type", "application/json", "user-agent", "walhook", "webhook-id", id];
  headers.push("webhook-timestamp", timestamp, "webhook-signature", `v1,${signature}`);
  headers.push("x-frappe-webhook-signature", frappe);
  agent.dispatch(
    { origin, path: pathname, method: "POST", headers, body },
    {
      onRequestStart: () => {},
      onResponseStart: () => {},
      onResponseData: () => {},
      onResponseEnd: () => {
        ended++;
        if (ended === Number(requests)) void agent.close();
        else next();
      },
      onResponseError: (_, error) => {
        throw error;
      },
    },
  );
}

for (let n = 0; n < Number(concurrency); n++) next();
