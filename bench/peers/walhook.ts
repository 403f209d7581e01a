import { PACKAGED_SERVER, type Peer, type Place, type RunningPeer } from "./peer.ts";

const SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/** Walhook itself, signed and logged, with a condition that is true. */
export const walhook: Peer = {
  name: "Walhook",
  server: { ...PACKAGED_SERVER, hasWalhook: true },
  missing: () => Promise.resolve(null),
  variants: [{ name: "one event a request", start }],
};

async function start({ stage, sinkUrl }: Place): Promise<RunningPeer> {
  await stage.admin(`insert into walhook.webhook
      (name, webhook_doctype, webhook_docevent, request_url, condition, enable_security, webhook_secret)
    values ('w', 'event', 'after_insert', '${sinkUrl}', 'doc.total > 0', true, '${SECRET}')`);
  let bridge = stage.bridge();
  await bridge.running();
  return {
    cpuSeconds: () => bridge.cpuSeconds,
    ended: () => null,
    crash: async () => {
      await bridge.kill();
      bridge = stage.bridge();
    },
  };
}
