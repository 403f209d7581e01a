import { concatMap, map, type Observable, Subscription } from "rxjs";
import type { BridgeSettings } from "./bridge-settings.ts";
import { readBridgeSlot, requireUnmoved } from "./slot/bridge-slot.ts";
import { connectionConfig } from "./db/connection.ts";
import { requireEncoding } from "./db/encoding.ts";
import { PublicationWatch } from "./slot/publication-watch.ts";
import { PUBLICATIONS } from "./slot/publications.ts";
import type { Connections } from "./db/bounded-pool.ts";
import { createCatalog } from "./decode/catalog.ts";
import { configurationOids } from "./decode/configuration-tables.ts";
import { decode } from "./decode/decode.ts";
import { gatherMap } from "./decode/gather.ts";
import { LeafIdentities } from "./decode/leaf-identities.ts";
import type { AttemptRecord } from "./deliver/attempt-record.ts";
import type { Transport } from "./deliver/transport.ts";
import { deferred } from "./deferred.ts";
import { endsInConfiguration, isFullEventChunk, mergeEventChunks, toEventChunk } from "./events/event-chunk.ts";
import { InForce } from "./match/in-force.ts";
import { Matcher } from "./match/matcher.ts";
import { openSending } from "./open-sending.ts";
import { Parts } from "./parts.ts";
import { Answerer } from "./preview/answerer.ts";
import { readMessageKey } from "./preview/signed-message.ts";
import { fencedError, showStopped, takeOver } from "./record/bridge-row.ts";
import { LogMaintenance } from "./record/log-maintenance.ts";
import type { Durable } from "./record/recorder.ts";
import { UnusedConditions } from "./record/unused-conditions.ts";
import { deliveryIds } from "./render/delivery-id.ts";
import { orderChunks } from "./render/order-chunk.ts";
import type { Lsn } from "./replication/lsn.ts";
import { openReplication } from "./replication/replication-stream.ts";
import { VERSION } from "./version.ts";
import { within } from "./within.ts";

const APPLICATION_NAME = "walhook";
/** How long a stop waits for what is written last. */
const LAST_WORDS_MS = 3_000;

export interface SessionOptions {
  readonly settings: BridgeSettings;
  readonly main: Connections;
  /** For what takes long, and no event waits for. */
  readonly slow: Connections;
  readonly transport: Transport;
  readonly onAttempt: (record: AttemptRecord) => void;
  /** This process' last time with the slot; null: it never had it. */
  readonly former: Tenure | null;
  /** The slot is ours now. */
  readonly onTenure: (tenure: Tenure) => void;
}

/** The time of one session with the slot. */
export interface Tenure {
  readonly epoch: bigint;
  /** What the slot was told last. */
  readonly acknowledged: () => Lsn;
}

/** One connection to the slot, from taking over to its end. */
export interface Session {
  /** Settles when the session is over: resolves after `stop`, rejects with what ended it. */
  readonly done: Promise<void>;
  /** Ends in order: no more intake, requests under way are awaited, all is written down and acknowledged. */
  stop(): Promise<void>;
}

/**
 * Takes the slot over from whoever had it and streams on from the stored cursor.
 * @throws GapError where changes may be missing; WalhookError `fenced` where another bridge has had the slot since
 *   this process had it
 */
export async function openSession(options: SessionOptions): Promise<Session> {
  const { settings, main, slow, transport, onAttempt, former, onTenure } = options;
  const { pool, db } = main;
  await requireEncoding(pool);
  const slot = await readBridgeSlot(pool);
  if (former !== null && slot.epoch > former.epoch) throw fencedError(slot.epoch, former.epoch);
  const stream = await openReplication({
    connection: connectionConfig(settings.replicationUrl, APPLICATION_NAME),
    slotName: slot.slotName,
    publicationNames: PUBLICATIONS,
    highWaterBytes: settings.maxBytesInFlight,
  });
  const parts = new Parts();
  parts.defer(() => stream.stop());
  try {
    await requireUnmoved(pool, former);
    const resumption = await takeOver(db, VERSION);
    onTenure({ epoch: resumption.epoch, acknowledged: () => stream.acknowledgedLsn });
    const inForce = new InForce(resumption.inForce);
    const deliveryId = deliveryIds(slot);
    const { promise: over, reject: onFailure } = deferred<never>();
    const onDurable = ({ bytes, flushLsn }: Durable): void => {
      stream.release(bytes);
      stream.acknowledge(flushLsn);
    };
    const { conditions, withoutRights, inFlight, recorder, replayer, backfiller } = await openSending(
      { settings, db, slow, transport, inForce, resumption, deliveryId, onAttempt, onDurable, onFailure },
      parts,
    );
    parts.keep(new PublicationWatch(pool, slot.walLsn, onFailure)).start();
    parts.keep(new LogMaintenance(slow.db, settings)).start();
    parts.keep(new UnusedConditions(slow.db)).start();
    const leaves = parts.keep(new LeafIdentities(db));
    const answerer = parts.keep(
      new Answerer({
        pool,
        messageKey: await readMessageKey(pool),
        transport,
        connection: connectionConfig(settings.databaseUrl, `${APPLICATION_NAME} preview`),
        conditionTimeoutMs: settings.conditionTimeoutMs,
        places: { env: process.env, folder: settings.secretsFolder },
        maxBodyBytes: settings.maxBodyBytes,
        drainMs: settings.drainMs,
        onAttempt,
      }),
    );
    answerer.start();
    const matcher = new Matcher(inForce, withoutRights, conditions);

    const delivered$: Observable<void> = stream.frames.pipe(
      decode({
        catalog: createCatalog(pool),
        configurationOids: await configurationOids(db),
        resumeAfter: resumption.position,
        maxRowBytes: settings.maxRowBytes,
        onLeaf: (leaf) => leaves.notice(leaf),
        onMessage: (content) => answerer.notice(content),
      }),
      map(toEventChunk),
      gatherMap({
        merge: mergeEventChunks,
        isFull: isFullEventChunk,
        isBarrier: endsInConfiguration,
        project: async (chunk) => {
          await inFlight.room();
          const matched = await matcher.match(chunk);
          return { matched, read: await backfiller.follow(chunk, matched, matcher.inForce) };
        },
      }),
      map(({ matched, read }) =>
        backfiller.behind(orderChunks(matched, deliveryId, settings.maxBodyBytes), matched.matches, read),
      ),
      concatMap((chunks) => inFlight.receiveAll(chunks, () => intake.closed)),
    );
    const intake = new Subscription();
    const ended = new Promise<void>((resolve, reject) => {
      intake.add(delivered$.subscribe({ error: reject, complete: resolve }));
    });
    // It may fail before anybody waits for it below; unheard it would end the process.
    ended.catch(() => {});
    parts.defer(() => intake.unsubscribe());
    inFlight.wake();
    replayer.wake();
    await backfiller.start();

    const stopped = deferred<void>();
    let stopping: Promise<void> | null = null;
    const stop = async (): Promise<void> => {
      // The pipe backwards: intake, requests under way, the last checkpoint, its acknowledgement.
      try {
        intake.unsubscribe();
        await within(settings.drainMs, Promise.all([replayer.close(), backfiller.close()]));
        // A statement of theirs may wait for somebody's lock, or for a server that does not answer: then it is as after a crash.
        await within(settings.drainMs + LAST_WORDS_MS, inFlight.drain(settings.drainMs));
        if (!(await within(LAST_WORDS_MS, recorder.close()))) recorder.abandon();
      } finally {
        // What it says of the slot holds also where the last checkpoint failed.
        const said = showStopped(db, resumption.epoch, stream.acknowledgedLsn).catch(() => {});
        await within(LAST_WORDS_MS, said);
        await parts.close().finally(stopped.resolve);
      }
    };
    const done = Promise.race([ended, over, stopped.promise]).then(
      () => (stopping ??= stop()),
      async (error: unknown) => {
        await parts.close().catch(() => {});
        throw error;
      },
    );
    done.catch(() => {});
    return { done, stop: () => (stopping ??= stop()) };
  } catch (error) {
    await parts.close().catch(() => {});
    throw error;
  }
}
