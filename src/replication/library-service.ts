import type pg from "pg";
import type { LogicalReplicationService } from "pg-logical-replication";
import { within } from "../within.ts";

const CLOSE_WITHIN_MS = 2000;

/**
 * The library listens to its client from when it is connected until it is closed. An error that comes in the same read as
 * the end of either has no listener, which would end the process; the query under way or the next one tells of it.
 */
export function listenFromBirth(service: LogicalReplicationService): void {
  let current: pg.Client | null = null;
  Object.defineProperty(service, "_client", {
    get: () => current,
    set: (next: pg.Client | null) => {
      for (const client of [current, next]) client?.on("error", () => {});
      current = next;
    },
  });
}

/** The driver's connection, which its types do not show; its version is pinned. */
export interface DriverConnection {
  readonly stream: { pause(): void; resume(): void; destroy(): void };
  endCopyFrom(): void;
}

/** The library's client, which its types do not show; its version is pinned. */
export function clientOf(service: LogicalReplicationService): pg.Client | null {
  return (service as unknown as { _client: pg.Client | null })._client;
}

export function connectionOf(client: pg.Client): DriverConnection {
  return (client as unknown as { connection: DriverConnection }).connection;
}

/** Ends its connection, in order where the server answers in time. */
export async function closeService(service: LogicalReplicationService, client: pg.Client | null): Promise<void> {
  const closed = service.stop().catch(() => {});
  const isClosed = await within(CLOSE_WITHIN_MS, closed);
  if (!isClosed && client !== null) connectionOf(client).stream.destroy();
}
