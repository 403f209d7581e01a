import type { LoadHook } from "node:module";
import { applyPatches } from "./apply-patches.ts";
import type { Patch } from "./patches.ts";

let patches: readonly Patch[] = [];

/** Module hooks of Node: https://nodejs.org/api/module.html#initialize */
export function initialize(data: readonly Patch[]): void {
  patches = data;
}

export const load: LoadHook = async (url, context, nextLoad) => {
  const loaded = await nextLoad(url, context);
  const ofFile = patches.filter(({ file }) => url.endsWith(`/dist/${file}`));
  if (ofFile.length === 0 || loaded.source === undefined || loaded.source === null) return loaded;
  return { ...loaded, source: applyPatches(Buffer.from(loaded.source as Uint8Array).toString(), ofFile) };
};
