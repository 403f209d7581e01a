interface Alarm {
  readonly atMs: number;
  readonly timer: NodeJS.Timeout;
}

/** One alarm for each webhook that has to be looked at again though nothing happens: the earliest that was asked for. */
export class Alarms {
  readonly #alarms = new Map<number, Alarm>();
  readonly #onAlarm: (webhookId: number) => void;

  constructor(onAlarm: (webhookId: number) => void) {
    this.#onAlarm = onAlarm;
  }

  /** @param ms from now; 0 and Infinity: never */
  set(webhookId: number, ms: number): void {
    if (ms === 0 || ms === Infinity) return;
    const atMs = Date.now() + ms;
    const alarm = this.#alarms.get(webhookId);
    if (alarm !== undefined && alarm.atMs <= atMs) return;
    clearTimeout(alarm?.timer);
    const ring = (): void => {
      this.#alarms.delete(webhookId);
      this.#onAlarm(webhookId);
    };
    this.#alarms.set(webhookId, { atMs, timer: setTimeout(ring, ms) });
  }

  clear(webhookId: number): void {
    clearTimeout(this.#alarms.get(webhookId)?.timer);
    this.#alarms.delete(webhookId);
  }

  clearAll(): void {
    for (const { timer } of this.#alarms.values()) clearTimeout(timer);
    this.#alarms.clear();
  }
}
