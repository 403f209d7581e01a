import { readFile, realpath, stat } from "node:fs/promises";
import { resolve, sep } from "node:path";

/** Where references lead. */
export interface SecretSources {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The folder outside of which no file is read. */
  readonly folder: string;
}

/** What stands where a reference leads, or why nothing can be read there; never both. */
export type Finding = { readonly text: string } | { readonly problem: string };

const MAX_BYTES = 65_536;
/** Who writes a webhook must not choose what else of the bridge's environment becomes a key. */
const VARIABLE = /^WALHOOK_SECRET_[A-Za-z0-9_]+$/;

/**
 * Reads the secret that `env:NAME` or `file:PATH` refers to; a line end at the end of a file is not part of it.
 * Never rejects. A problem names the place, not what stands there.
 */
export async function readReference(reference: string, { env, folder }: SecretSources): Promise<Finding> {
  const separator = reference.indexOf(":");
  const place = reference.slice(separator + 1);
  if (reference.slice(0, separator) === "env") return readVariable(place, env);
  const path = resolve(folder, place);
  try {
    if (!isInside(path, resolve(folder)) || !isInside(await realpath(path), await realpath(folder))) {
      return { problem: `its secret ${reference} is outside of the folder for secrets, ${folder} (--secrets-folder)` };
    }
    // A pipe would never end.
    const found = await stat(path);
    if (!found.isFile()) return { problem: `its secret ${reference} is not a file` };
    if (found.size > MAX_BYTES) return { problem: `its secret ${reference} has more than ${MAX_BYTES} bytes` };
    return nonEmpty(reference, (await readFile(path, "utf8")).replace(/\r?\n$/, ""));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { problem: `its secret ${reference} cannot be read by the bridge: ${reason}` };
  }
}

function readVariable(name: string, env: SecretSources["env"]): Finding {
  if (!VARIABLE.test(name)) return { problem: `its secret env:${name} must begin with WALHOOK_SECRET_` };
  const text = env[name];
  if (text === undefined) return { problem: `its secret env:${name} is not set in the environment of the bridge` };
  return nonEmpty(`env:${name}`, text);
}

function nonEmpty(reference: string, text: string): Finding {
  return text === "" ? { problem: `its secret ${reference} is empty` } : { text };
}

function isInside(path: string, folder: string): boolean {
  return path.startsWith(folder.endsWith(sep) ? folder : folder + sep);
}
