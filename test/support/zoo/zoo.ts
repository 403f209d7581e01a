import type { Animal } from "./animal.ts";
import { ANSWER_ANIMALS } from "./answer-animals.ts";
import { CONNECTION_ANIMALS } from "./connection-animals.ts";
import { TLS_ANIMALS } from "./tls-animals.ts";

/** Receivers that misbehave, each in its own way. */
export const ZOO: readonly Animal[] = [...CONNECTION_ANIMALS, ...TLS_ANIMALS, ...ANSWER_ANIMALS];

/** @throws where there is none of that kind */
export function animalNamed(does: string): Animal {
  const found = ZOO.find((animal) => animal.does === does);
  if (found === undefined) throw new Error(`no receiver that ${does}`);
  return found;
}
