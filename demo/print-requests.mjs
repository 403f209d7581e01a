// A receiver without dependencies: prints each webhook and says whether its signature is right.
// This is all that a receiver needs to verify Standard Webhooks (https://www.standardwebhooks.com).
import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";

const secret = process.env["WEBHOOK_SECRET"] ?? "";
const key = secret.startsWith("whsec_") ? Buffer.from(secret.slice(6), "base64") : Buffer.from(secret);
const port = Number(process.env["PORT"] ?? 8080);
const TOLERANCE_S = 300;

/** Whether one of the space-separated `v1,<base64>` signatures is ours and the request is fresh. */
function isSigned(headers, body) {
  const { "webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signatures = "" } = headers;
  if (Math.abs(Date.now() / 1000 - Number(timestamp)) > TOLERANCE_S) return false;
  const expected = createHmac("sha256", key).update(`${id}.${timestamp}.`).update(body).digest();
  return signatures.split(" ").some((signature) => {
    const given = Buffer.from(signature.replace(/^v1,/, ""), "base64");
    return given.length === expected.length && timingSafeEqual(given, expected);
  });
}

createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    const body = Buffer.concat(parts);
    if (request.method !== "GET" && request.method !== "HEAD") {
      const verdict = isSigned(request.headers, body) ? "signature ok" : "NOT SIGNED BY US";
      console.log(`${request.method} ${request.url} ${request.headers["webhook-id"]} ${verdict}\n  ${body}`);
    }
    response.writeHead(204).end();
  });
}).listen(port, () => console.log(`receiver listens on port ${port}`));

for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(0));
