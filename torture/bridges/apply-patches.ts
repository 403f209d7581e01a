import type { Patch } from "./patches.ts";

/** Replaces the text of each patch. Throws where it does not stand there exactly once: then the code has changed. */
export function applyPatches(source: string, patches: readonly Patch[]): string {
  let text = source;
  for (const { name, file, find, replace } of patches) {
    const parts = text.split(find);
    if (parts.length !== 2) {
      throw new Error(`patch "${name}": its text is ${parts.length - 1} times in dist/${file}, not once:\n${find}`);
    }
    text = parts.join(replace);
  }
  return text;
}
