/**
 * A slot's name, quoted for a replication command, which takes no parameters. Throws a `TypeError` on what
 * Postgres would not take: slots are named by lower-case letters, digits and underscores.
 */
export function quoteSlotName(name: string): string {
  if (!/^[a-z0-9_]{1,63}$/.test(name)) {
    throw new TypeError(`"${name}" is not the name of a replication slot: 1 to 63 of a-z, 0-9 and _`);
  }
  return `"${name}"`;
}

/**
 * Publications as the value of pgoutput's option `publication_names`: a list of identifiers inside a string.
 * Throws a `TypeError` where a name is empty, too long or holds a NUL.
 */
export function quotePublicationNames(names: readonly string[]): string {
  if (names.length === 0) throw new TypeError("a replication stream needs at least one publication");
  const identifiers = names.map((name) => {
    if (name === "" || name.includes("\0") || Buffer.byteLength(name) > 63) {
      throw new TypeError(`${JSON.stringify(name)} is not the name of a publication`);
    }
    return `"${name.replaceAll('"', '""')}"`;
  });
  return `'${identifiers.join(",").replaceAll("'", "''")}'`;
}
