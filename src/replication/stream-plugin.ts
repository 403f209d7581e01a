import type pg from "pg";
import { PgoutputPlugin } from "pg-logical-replication";
import { quotePublicationNames, quoteSlotName } from "./identifiers.ts";
import { type Lsn, parseLsn } from "./lsn.ts";
import { PIN_TEXT_SETTINGS, stripQueryTimeout } from "./session.ts";

/** What the connection tells about itself before the stream starts. */
export interface StreamSession {
  readonly client: pg.Client;
  /** The server drops a client that it has not heard of for so long; 0: never. */
  readonly walSenderTimeoutMs: number;
  /** What the slot has been told already; 0 where there is no such slot. */
  readonly confirmedFlushLsn: Lsn;
}

/**
 * The part of `pg-logical-replication` that is asked per connection and per message, in our own words: raw
 * messages are handed on as they are (its decoder loses digits, microseconds and unsigned numbers), names are
 * quoted, and the stream always starts where the slot stands, never at what an earlier connection received.
 */
export class StreamPlugin extends PgoutputPlugin {
  readonly #publicationNames: readonly string[];
  #session: StreamSession | null = null;

  constructor(publicationNames: readonly string[]) {
    super({ protoVersion: 1, publicationNames: [...publicationNames], messages: true });
    this.#publicationNames = publicationNames;
  }

  /** Null until the server has been asked. */
  get session(): StreamSession | null {
    return this.#session;
  }

  /** A view, not a copy: `Frame` says how long it lasts. */
  override parse(bytes: Buffer): never {
    return bytes as never;
  }

  override async start(client: pg.Client, slotName: string): Promise<unknown> {
    const slot = quoteSlotName(slotName);
    const publications = quotePublicationNames(this.#publicationNames);
    stripQueryTimeout(client);
    await client.query(`set application_name = 'walhook'; ${PIN_TEXT_SETTINGS}`);
    const { rows } = await client.query<{ timeout: string; confirmed: string | null }>(
      `select (select setting from pg_catalog.pg_settings where name = 'wal_sender_timeout') as timeout,
              (select confirmed_flush_lsn::text from pg_catalog.pg_replication_slots where slot_name = '${slotName}') as confirmed`,
    );
    const confirmed = rows[0]?.confirmed ?? null;
    this.#session = {
      client,
      walSenderTimeoutMs: Number(rows[0]?.timeout ?? 0),
      confirmedFlushLsn: confirmed === null ? 0n : parseLsn(confirmed),
    };
    return client.query(
      `START_REPLICATION SLOT ${slot} LOGICAL 0/0 (proto_version '1', publication_names ${publications}, messages 'true')`,
    );
  }
}
