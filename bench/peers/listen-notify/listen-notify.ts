import { fileURLToPath } from "node:url";
import { PACKAGED_SERVER, type Peer, type Place, type RunningPeer } from "../peer.ts";
import { PeerProcess } from "../peer-process.ts";

const PROCESS = fileURLToPath(new URL("./listener-process.js", import.meta.url));

/** A row larger than 8,000 bytes as JSON makes `pg_notify`, and with it the application's INSERT, fail. */
const TRIGGER = `
  create function notify_event() returns trigger language plpgsql as $$
  begin
    perform pg_notify('event', row_to_json(new)::text);
    return null;
  end $$;
  create trigger notify_event after insert on event for each row execute function notify_event()`;

/** A trigger with `pg_notify`, and a Node process that listens and posts. */
export const listenNotify: Peer = {
  name: "LISTEN/NOTIFY script",
  server: PACKAGED_SERVER,
  missing: () => Promise.resolve(null),
  variants: [
    { name: "plain", start: (place) => start(place, []) },
    { name: "50 connections", start: (place) => start(place, ["50"]) },
  ],
};

async function start({ stage, sinkUrl }: Place, connections: readonly string[]): Promise<RunningPeer> {
  await stage.app(TRIGGER);
  const url = stage.server.url("bench", "bench_app");
  return new PeerProcess(stage, { command: process.execPath, args: [PROCESS, url, sinkUrl, ...connections] });
}
