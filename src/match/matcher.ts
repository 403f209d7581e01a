import type { EventChunk } from "../events/event-chunk.ts";
import type { Conditions } from "./conditions.ts";
import type { InForce, InForceChange } from "./in-force.ts";
import { match, type WithoutRights, type Match } from "./match.ts";

/** A chunk with the webhooks that fire for its events. */
export interface MatchedChunk extends Omit<EventChunk, "events" | "configuration"> {
  readonly matches: readonly Match[];
  /** What the configuration transaction at its end did; null where there is none. */
  readonly change: InForceChange | null;
}

/**
 * Matches chunks in stream order against the webhooks in force at their place: configuration that a chunk
 * ends with acts on the chunks after it.
 */
export class Matcher {
  readonly #conditions: Pick<Conditions, "ask">;
  readonly #withoutRights: () => WithoutRights;
  #inForce: InForce;

  constructor(inForce: InForce, withoutRights: () => WithoutRights, conditions: Pick<Conditions, "ask">) {
    this.#inForce = inForce;
    this.#withoutRights = withoutRights;
    this.#conditions = conditions;
  }

  /** What is in force behind the chunk that was matched last. */
  get inForce(): InForce {
    return this.#inForce;
  }

  async match({ events, configuration, ...place }: EventChunk): Promise<MatchedChunk> {
    const matches =
      events.length === 0 ? [] : await match(events, this.#inForce, this.#withoutRights(), this.#conditions);
    const change = configuration.length === 0 ? null : this.#inForce.apply(configuration);
    if (change !== null) this.#inForce = change.inForce;
    return { ...place, matches, change };
  }
}
