import { createHash, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createSecureContext } from "node:tls";
import type { Route } from "../match/webhook.ts";

/** What a connection is made with. */
export interface TlsOptions {
  readonly minVersion: Route["tlsMinVersion"];
  /** Authorities that may have signed the receiver's certificate, instead of the usual ones. */
  readonly ca?: string;
  /** What the receiver gets to see of us. */
  readonly cert?: string;
  readonly key?: string;
}

/** TLS options, and what tells them from others. */
export interface TlsMaterial {
  readonly id: string;
  readonly options: TlsOptions;
}

/** A profile that cannot be used. */
class TlsProfileError extends Error {
  readonly code: string = "ERR_TLS_PROFILE";
}

/** Files that were changed are noticed after so long. */
const READ_AGAIN_AFTER_MS = 10_000;
const NAME = /^[a-z0-9][a-z0-9_-]{0,62}$/;

/**
 * The operator's folder of certificates. A webhook names a profile: `partner` is `partner.ca.pem`, and
 * `partner.cert.pem` with `partner.key.pem`, as many of the two as there are. So no key stands in the database.
 */
export class TlsProfiles {
  readonly #folder: string;
  readonly #read = new Map<string, { readonly material: TlsMaterial; readonly atMs: number }>();

  /** @param folder an empty text: there is none */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /** @throws an error of class `tls` that names the profile, and no word of what is in a file */
  of({ tlsProfile, tlsMinVersion }: Route): TlsMaterial {
    const key = `${tlsMinVersion} ${tlsProfile ?? ""}`;
    const known = this.#read.get(key);
    if (known !== undefined && performance.now() - known.atMs < READ_AGAIN_AFTER_MS) return known.material;
    const options = { minVersion: tlsMinVersion, ...(tlsProfile === null ? {} : this.#files(tlsProfile)) };
    const id = createHash("sha256").update(JSON.stringify(options)).digest("hex");
    const material = known?.material.id === id ? known.material : { id, options };
    this.#read.set(key, { material, atMs: performance.now() });
    return material;
  }

  #files(profile: string): Omit<TlsOptions, "minVersion"> {
    const fail = (reason: string): never => {
      throw new TlsProfileError(`tls_profile "${profile}": ${reason}`);
    };
    if (!NAME.test(profile)) fail("not a name of small letters, digits, - and _");
    if (this.#folder === "") fail("the operator has set no WALHOOK_TLS_DIRECTORY");
    const [ca, cert, key] = ["ca", "cert", "key"].map((part) =>
      readIfThere(join(this.#folder, `${profile}.${part}.pem`)),
    );
    if (ca === undefined && cert === undefined)
      fail(`no ${profile}.ca.pem or ${profile}.cert.pem in WALHOOK_TLS_DIRECTORY`);
    if ((cert === undefined) !== (key === undefined))
      fail(`${profile}.cert.pem and ${profile}.key.pem belong together`);
    const files = {
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined || key === undefined ? {} : { cert, key }),
    };
    try {
      requireCertificates(ca, cert);
      createSecureContext(files);
    } catch {
      fail("its files are no PEM certificates, or the key does not belong to the certificate");
    }
    return files;
  }
}

/** @throws where one cannot be read; a TLS context takes anything for an authority */
function requireCertificates(...texts: readonly (string | undefined)[]): readonly X509Certificate[] {
  return texts.filter((text) => text !== undefined).map((text) => new X509Certificate(text));
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw new TlsProfileError(`${path} cannot be read`);
  }
}
