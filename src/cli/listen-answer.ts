import type { ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

/** How a receiver for development answers. */
export interface Answering {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** Milliseconds before it begins to answer. */
  readonly delayMs: number;
  /** Milliseconds between two bytes of the body; 0: it is sent at once. */
  readonly dripMs: number;
  /** When it closes the connection instead: before the head, after it, or amid the body; null: never. */
  readonly reset: Reset | null;
}

/** Within so long, what was sent is read by the other side. */
const READ_WITHIN_MS = 50;

export const RESETS = ["before", "head", "body"] as const;
export type Reset = (typeof RESETS)[number];

/** Answers one request, until `signal` ends it. Resolves to what it did, in words. */
export async function answer(response: ServerResponse, how: Answering, signal: AbortSignal): Promise<string> {
  const { status, headers, body, delayMs, dripMs, reset } = how;
  const after = delayMs === 0 ? "" : ` after ${delayMs} ms`;
  try {
    if (delayMs > 0) await sleep(delayMs, undefined, { signal });
    if (response.destroyed) return `the sender went away within ${delayMs} ms`;
    if (reset === "before") return cut(response, `reset the connection${after}`);
    const bytes = Buffer.from(body);
    const hasBody = status !== 204 && status !== 304;
    response.writeHead(status, { ...headers, ...(hasBody ? { "content-length": String(bytes.length) } : {}) });
    if (reset === "head")
      return await flushAndCut(
        response,
        bytes.subarray(0, 0),
        `reset the connection after the head, ${status}${after}`,
      );
    if (reset === "body") {
      const half = bytes.subarray(0, Math.ceil(bytes.length / 2));
      return await flushAndCut(response, half, `reset the connection amid the body, ${status}${after}`);
    }
    if (dripMs > 0 && hasBody) {
      for (let at = 0; at < bytes.length; at++) {
        response.write(bytes.subarray(at, at + 1));
        await sleep(dripMs, undefined, { signal });
        if (response.destroyed) return `the sender went away after ${at + 1} of ${bytes.length} bytes`;
      }
      response.end();
    } else response.end(hasBody ? bytes : undefined);
    return `answered ${status}${after}${dripMs > 0 ? `, a byte each ${dripMs} ms` : ""}`;
  } catch (error) {
    if (!signal.aborted) throw error;
    return cut(response, "stopped before it had answered");
  }
}

function cut(response: ServerResponse, words: string): string {
  response.socket?.resetAndDestroy();
  return words;
}

/** The head and these bytes leave first, so that the sender sees them. */
async function flushAndCut(response: ServerResponse, bytes: Buffer, words: string): Promise<string> {
  response.flushHeaders();
  if (bytes.length > 0) response.write(bytes);
  // A reset overtakes what the other side has not read yet.
  await sleep(READ_WITHIN_MS);
  return cut(response, words);
}
