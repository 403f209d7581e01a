import { networkInterfaces } from "node:os";
import { describe, expect, it } from "vitest";
import { parseAddress } from "../../src/deliver/address-range.ts";
import { DatabaseEndpoints } from "../../src/deliver/database-endpoints.ts";

const at = (places: DatabaseEndpoints, address: string, port: number): string | null =>
  places.find(parseAddress(address), null, port);
async function placesOf(...urls: readonly string[]): Promise<DatabaseEndpoints> {
  const places = new DatabaseEndpoints(urls);
  await places.refresh();
  return places;
}

describe("the source database", () => {
  it("is at the host and port of its connection strings, by name too", async () => {
    const places = await placesOf("postgresql://bridge@10.1.2.3:6432/shop", "postgresql://bridge@DB.invalid:5433/shop");
    expect(at(places, "10.1.2.3", 6432)).toBe("the source database");
    expect(at(places, "::ffff:10.1.2.3", 6432)).toBe("the source database");
    expect(at(places, "10.1.2.3", 5432)).toBeNull();
    expect(at(places, "10.1.2.4", 6432)).toBeNull();
    expect(places.find(null, "db.invalid", 5433)).toBe("the source database");
    expect(places.find(null, "db.invalid", 80)).toBeNull();
  });
  it.each(["postgresql://bridge@localhost:6543/shop", "postgresql:///shop?host=/var/run/postgresql&port=6543"])(
    "on this machine (%s) is at its port of each of the machine's addresses",
    async (url) => {
      const places = await placesOf(url);
      const machine = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
      for (const { address } of [...machine, { address: "127.0.0.1" }, { address: "127.8.8.8" }, { address: "::1" }]) {
        expect(at(places, address, 6543)).toBe("the source database");
        expect(at(places, address, 8080)).toBeNull();
      }
      expect(at(places, "10.255.1.2", 6543)).toBeNull();
    },
  );
  it("is where its connections have led", async () => {
    const places = await placesOf("postgresql://bridge@db.invalid/shop");
    const client = { connection: { stream: { remoteAddress: "::ffff:10.7.7.7", remotePort: 5432 } } };
    places.notePeer(client as unknown as Parameters<DatabaseEndpoints["notePeer"]>[0]);
    expect(at(places, "10.7.7.7", 5432)).toBe("the source database");
    expect(at(places, "64:ff9b::a07:707", 5432)).toBeNull();
  });
  it("is nowhere for a connection string that nobody can read", async () => {
    expect(at(await placesOf("nonsense"), "127.0.0.1", 5432)).toBeNull();
  });
});
