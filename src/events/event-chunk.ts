import type { Chunk } from "../decode/chunk.ts";
import type { DocEvent } from "./doc-event.ts";
import { docEvents } from "./doc-events.ts";

/** A chunk whose changes are told as doc events. */
export interface EventChunk extends Omit<Chunk, "changes"> {
  readonly events: readonly DocEvent[];
}

/** What happened to documents in this chunk, in order. */
export function toEventChunk({ changes, ...chunk }: Chunk): EventChunk {
  const events: DocEvent[] = [];
  // A loop takes a third of what flatMap takes.
  for (const change of changes) for (const event of docEvents(change)) events.push(event);
  return { ...chunk, events };
}

/** Two neighbours as one. Nothing may be merged behind a chunk that ends in configuration. */
export function mergeEventChunks(first: EventChunk, second: EventChunk): EventChunk {
  return { ...second, events: [...first.events, ...second.events], bytes: first.bytes + second.bytes };
}

/**
 * Each question makes the server's process and this one take turns, so fewer and larger ones read faster: 137,000, 160,000
 * and 171,000 events/s with 500, 1,000 and 2,000 on two cores. But all rows of a question share --condition-timeout-ms.
 */
const MAX_EVENTS = 1000;
const MAX_BYTES = 1024 * 1024;

/** Large enough to be asked about on its own. */
export function isFullEventChunk({ events, bytes }: EventChunk): boolean {
  return events.length >= MAX_EVENTS || bytes >= MAX_BYTES;
}

/** What follows this chunk sees another configuration. */
export function endsInConfiguration({ configuration }: EventChunk): boolean {
  return configuration.length > 0;
}
