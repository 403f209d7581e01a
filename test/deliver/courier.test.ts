import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Courier, type CourierOptions } from "../../src/deliver/courier.ts";
import type { Open } from "../../src/deliver/breaker.ts";
import { InForce } from "../../src/match/in-force.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

it("asks for deliveries of the queue when a pause is over, also where the clock moves on while it looks", () => {
  const untilMs = Date.now() + 50;
  const breaker: Open = { kind: "open", sinceMs: Date.now(), untilMs, openMs: 50, openings: 1 };
  const rooms: number[] = [];
  const courier = new Courier(
    new InForce(new Map([[1, { webhook: { id: "1", name: "w", enabled: "t" }, headers: [], data: [] }]])),
    {
      health: { breakers: new Map([[1, breaker]]) },
      concurrencyPerWebhook: 5,
      bytesPerWebhook: 1000,
      maxOpenRequests: 10,
      isHeld: () => false,
      packingOf: (webhook: unknown) => webhook,
      onRoom: () => rooms.push(courier.room(1)),
    } as unknown as CourierOptions,
  );
  // The timer comes a millisecond early, and the millisecond ends between two looks at the clock.
  let looks = 0;
  const now = vi.spyOn(Date, "now").mockImplementation(() => (looks++ === 0 ? untilMs - 1 : untilMs));
  vi.advanceTimersByTime(50);
  now.mockRestore();
  vi.advanceTimersByTime(10);
  expect(rooms.some((room) => room > 0)).toBe(true);
});
