import type { Kysely } from "kysely";
import { Backfiller } from "./backfill/backfiller.ts";
import type { BridgeSettings } from "./bridge-settings.ts";
import { connect, connectionConfig } from "./db/connection.ts";
import type { Connections } from "./db/bounded-pool.ts";
import type { Database } from "./db/schema.ts";
import { WebhookStates } from "./db/webhook-states.ts";
import type { AttemptRecord } from "./deliver/attempt-record.ts";
import { Handshakes } from "./deliver/handshakes.ts";
import { KeyRing } from "./deliver/key-ring.ts";
import { SecretWatch } from "./deliver/secret-watch.ts";
import type { Transport } from "./deliver/transport.ts";
import { Conditions } from "./match/conditions.ts";
import type { InForce } from "./match/in-force.ts";
import type { WithoutRights } from "./match/match.ts";
import { RightsWatch } from "./match/rights-watch.ts";
import type { Parts } from "./parts.ts";
import type { Resumption } from "./record/bridge-row.ts";
import { CheckpointWriter } from "./record/checkpoint-writer.ts";
import { InFlight } from "./record/in-flight.ts";
import { Recorder, type Durable } from "./record/recorder.ts";
import { Replayer } from "./record/replayer.ts";
import { RollupMerger } from "./record/rollup-merger.ts";
import type { DeliveryId } from "./render/delivery-id.ts";

export interface SendingOptions {
  readonly settings: BridgeSettings;
  readonly db: Kysely<Database>;
  /** For what takes long, and no event waits for. */
  readonly slow: Connections;
  readonly transport: Transport;
  readonly inForce: InForce;
  readonly resumption: Resumption;
  readonly deliveryId: DeliveryId;
  readonly onAttempt: (record: AttemptRecord) => void;
  /** A checkpoint is durable. */
  readonly onDurable: (done: Durable) => void;
  /** The session cannot go on. */
  readonly onFailure: (error: unknown) => void;
}

/** The half of a session behind the stream. */
export interface Sending {
  readonly conditions: Conditions;
  /** Webhooks whose author may no longer read the table. */
  readonly withoutRights: () => WithoutRights;
  readonly inFlight: InFlight;
  readonly recorder: Recorder;
  readonly replayer: Replayer;
  readonly backfiller: Backfiller;
}

/**
 * Opens what delivers and records: deliveries in flight, the recorder with its checkpoints, what is replayed and backfilled,
 * and the watches that say which webhooks must not send. Closed by `parts`.
 */
export async function openSending(options: SendingOptions, parts: Parts): Promise<Sending> {
  const { settings, db, slow, transport, inForce, resumption, deliveryId, onAttempt, onDurable, onFailure } = options;
  const { epoch } = resumption;
  const client = await connect(settings.databaseUrl, "walhook checkpoint");
  parts.defer(() => client.end().catch(() => {}));
  const conditions = parts.keep(
    new Conditions({
      connection: connectionConfig(settings.databaseUrl, "walhook conditions"),
      timeoutMs: settings.conditionTimeoutMs,
    }),
  );
  const states = parts.keep(new WebhookStates(db, onFailure));
  const keys = new KeyRing({ env: process.env, folder: settings.secretsFolder });
  const onChange = (): void => inFlight.wake();
  const rights = parts.keep(new RightsWatch(db, states, onChange, onFailure));
  const withoutRights = (): WithoutRights => rights.withoutRights;
  const handshakes = parts.keep(
    new Handshakes({
      states,
      transport,
      isHeldOtherwise: (webhook) => withoutRights().has(webhook.id) || keys.problemOf(webhook, Date.now()) !== null,
      onChange,
    }),
  );
  const inFlight: InFlight = parts.keep(
    await InFlight.open({
      db,
      states,
      transport,
      conditions,
      inForce,
      withoutRights,
      keys,
      handshakes,
      settings,
      onAttempt,
      onProgress: () => recorder.poke(),
      onFailure,
      start: resumption,
      epoch,
    }),
  );
  const merger = parts.keep(new RollupMerger(slow.db));
  // What an earlier process has left.
  merger.poke();
  const recorder: Recorder = new Recorder({
    tracker: inFlight.tracker,
    writer: new CheckpointWriter(client, epoch, merger.poke),
    claimed: inFlight.claimed,
    onBackfilled: (progresses) => backfiller.durable(progresses),
    onApplied: (effects) => {
      inFlight.applied(effects);
      if (effects.some(({ repairs }) => repairs.some(({ kind }) => kind === "replay_log"))) replayer.wake();
    },
    onDurable: (done) => {
      inFlight.settle(done);
      onDurable(done);
    },
    onFailure,
  });
  parts.defer(() => recorder.abandon());
  const room = (webhookId: number): number => inFlight.spareRoom(webhookId);
  const replayer = parts.keep(
    new Replayer({ pool: slow.pool, epoch, room, onQueued: (delta) => inFlight.queued(delta), onFailure }),
  );
  const backfiller = parts.keep(
    new Backfiller({
      pool: slow.pool,
      epoch,
      conditions,
      withoutRights,
      deliveryId,
      maxRowBytes: settings.maxRowBytes,
      maxBodyBytes: settings.maxBodyBytes,
      room,
      isThere: (webhookId) => inFlight.hasWebhook(webhookId),
      onFailure,
    }),
  );
  // Before anything is matched, and not before there is somebody to be woken: a webhook may be held from the start.
  await rights.start();
  const { webhooks } = inFlight;
  await parts.keep(new SecretWatch({ db, states, keys, webhooks, withoutRights, onChange, onFailure })).start();
  handshakes.start(webhooks);
  return { conditions, withoutRights, inFlight, recorder, replayer, backfiller };
}
