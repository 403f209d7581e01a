import fc from "fast-check";
import { LogicalReplicationService } from "pg-logical-replication";
import { afterEach, describe, expect, it, vi } from "vitest";
import { Acknowledger } from "../../src/replication/acknowledger.ts";
import type { Lsn } from "../../src/replication/lsn.ts";

interface Status {
  readonly write: Lsn;
  readonly flush: Lsn;
  readonly apply: Lsn;
  readonly isReplyRequested: boolean;
}

/** The library's own encoding, with the socket taken away: what would have been on the wire. */
function wire(confirmed: Lsn): { acknowledger: Acknowledger; sent: Status[] } {
  const sent: Status[] = [];
  const service = new LogicalReplicationService({}, { acknowledge: { auto: false, timeoutSeconds: 0 } });
  const sendCopyFromChunk = (bytes: Buffer): void => {
    sent.push({
      write: bytes.readBigUInt64BE(1),
      flush: bytes.readBigUInt64BE(9),
      apply: bytes.readBigUInt64BE(17),
      isReplyRequested: bytes[33] === 1,
    });
  };
  Object.assign(service, { _stop: false, _connection: { sendCopyFromChunk } });
  return { acknowledger: new Acknowledger(confirmed, (lsn, ping) => void service.acknowledge(lsn, ping)), sent };
}

afterEach(() => {
  vi.useRealTimers();
});

describe("the acknowledgement", () => {
  it("is exact on the wire for every LSN, low word 0 included", () => {
    const low = fc.constantFrom(0n, 1n, 0xffff_fffen, 0xffff_ffffn);
    const lsns = fc.oneof(
      fc.bigInt({ min: 1n, max: 0xffff_ffff_ffff_ffffn }),
      fc.tuple(fc.bigInt({ min: 1n, max: 0xffff_ffffn }), low).map(([high, word]) => (high << 32n) | word),
    );
    fc.assert(
      fc.property(lsns, (lsn) => {
        const { acknowledger, sent } = wire(0n);
        acknowledger.acknowledge(lsn);
        expect(sent).toEqual([{ write: lsn, flush: lsn, apply: lsn, isReplyRequested: false }]);
      }),
    );
  });

  it("repeats where the slot stands until there is something to acknowledge", () => {
    const { acknowledger, sent } = wire(500n);
    acknowledger.sendNow(false);
    expect(sent.map((status) => status.flush)).toEqual([500n]);
  });

  it("never goes back", () => {
    const { acknowledger, sent } = wire(500n);
    acknowledger.acknowledge(900n);
    acknowledger.acknowledge(700n);
    acknowledger.sendNow(true);
    expect(sent.map((status) => [status.flush, status.isReplyRequested])).toEqual([
      [900n, false],
      [900n, true],
    ]);
  });

  it("is sent at once, and then at most every 100 ms, the latest one", () => {
    vi.useFakeTimers();
    const { acknowledger, sent } = wire(0n);
    for (let lsn = 1n; lsn <= 50n; lsn++) {
      acknowledger.acknowledge(lsn);
      vi.advanceTimersByTime(10);
    }
    vi.advanceTimersByTime(100);
    expect(sent.length).toBeLessThanOrEqual(7);
    expect(sent[0]?.flush).toBe(1n);
    expect(sent.at(-1)?.flush).toBe(50n);
  });

  it("answers the server at once, but no faster than every 10 ms, whatever the server does", () => {
    vi.useFakeTimers();
    const { acknowledger, sent } = wire(7n);
    acknowledger.answer();
    expect(sent).toHaveLength(1);
    for (let times = 0; times < 1000; times++) acknowledger.answer();
    vi.advanceTimersByTime(10);
    expect(sent).toHaveLength(2);
  });

  it("answers sooner than a planned acknowledgement would be sent, and carries it", () => {
    vi.useFakeTimers();
    const { acknowledger, sent } = wire(0n);
    acknowledger.acknowledge(1n);
    acknowledger.acknowledge(2n);
    acknowledger.answer();
    vi.advanceTimersByTime(10);
    expect(sent.map((status) => status.flush)).toEqual([1n, 2n]);
    vi.advanceTimersByTime(1000);
    expect(sent).toHaveLength(2);
  });

  it("sends nothing after it was closed", () => {
    vi.useFakeTimers();
    const { acknowledger, sent } = wire(0n);
    acknowledger.acknowledge(1n);
    acknowledger.acknowledge(2n);
    acknowledger.close();
    vi.advanceTimersByTime(1000);
    expect(sent).toHaveLength(1);
  });
});
