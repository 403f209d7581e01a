import { describe, expect, it } from "vitest";
import { Window } from "../../src/deliver/window.ts";

async function hasRoom(window: Window): Promise<boolean> {
  let has = false;
  void window.room().then(() => (has = true));
  await Promise.resolve();
  await Promise.resolve();
  return has;
}

describe("the window of open deliveries", () => {
  it("has room until so many are open, and again when one is released", async () => {
    const window = new Window(3, 1000);
    window.take(2, 10);
    expect(await hasRoom(window)).toBe(true);
    window.take(1, 10);
    expect(await hasRoom(window)).toBe(false);
    window.release(2);
    expect(await hasRoom(window)).toBe(true);
  });

  it("has room until they hold so many bytes, however few they are", async () => {
    const window = new Window(100, 1000);
    window.take(1, 999);
    expect(await hasRoom(window)).toBe(true);
    window.take(1, 1);
    expect(await hasRoom(window)).toBe(false);
    window.release(1);
    expect(await hasRoom(window)).toBe(true);
  });

  it("frees the bytes of the oldest first, and only when all that came with them are released", async () => {
    const window = new Window(100, 1000);
    window.take(3, 900);
    window.take(2, 100);
    window.release(2);
    expect(await hasRoom(window)).toBe(false);
    window.release(2);
    expect(await hasRoom(window)).toBe(true);
    window.take(1, 899);
    expect(await hasRoom(window)).toBe(true);
    window.take(1, 1);
    expect(await hasRoom(window)).toBe(false);
  });

  it("wakes everybody who waits, as soon as there is room", async () => {
    const window = new Window(1, 1000);
    window.take(1, 1);
    const waiting = Promise.all([window.room(), window.room()]);
    window.release(1);
    expect(await waiting).toHaveLength(2);
  });

  it("takes one delivery beyond its bytes where nothing else is open", async () => {
    const window = new Window(10, 100);
    window.take(1, 5000);
    expect(await hasRoom(window)).toBe(false);
    window.release(1);
    expect(await hasRoom(window)).toBe(true);
  });
});
