/** What `walhook check` says of one thing. */
export interface Finding {
  /** `problem`: events are or will be lost or late. `warning`: they could be. */
  readonly level: "ok" | "warning" | "problem";
  /** The thing looked at: `wal_level`, `table orders`, … */
  readonly where: string;
  /** How it is. */
  readonly what: string;
  /** What to do, as a sentence or a statement; null where nothing is to be done. */
  readonly remedy: string | null;
}

export function ok(where: string, what: string): Finding {
  return { level: "ok", where, what, remedy: null };
}

export function warning(where: string, what: string, remedy: string): Finding {
  return { level: "warning", where, what, remedy };
}

export function problem(where: string, what: string, remedy: string): Finding {
  return { level: "problem", where, what, remedy };
}

/** Bytes for people: `1.5 GB`, in powers of 1024 as Postgres' settings are. */
export function formatBytes(bytes: number): string {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  const power = bytes < 1024 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10));
  const value = bytes / 1024 ** power;
  return `${power === 0 ? value : value.toFixed(1)} ${units[power]}`;
}
