import type { Socket } from "node:net";
import type pg from "pg";

/** The driver's socket, which its types do not show; its version is pinned. */
export function socketOf(client: pg.ClientBase): Socket {
  return (client as unknown as { readonly connection: { readonly stream: Socket } }).connection.stream;
}
