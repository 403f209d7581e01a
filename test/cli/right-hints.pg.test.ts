import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { main } from "../../src/cli/main.ts";
import { watchedDatabase, type WatchedDatabase } from "../sql/watched-database.ts";

let watched: WatchedDatabase;
beforeAll(async () => {
  watched = await watchedDatabase("right_hints");
});
afterAll(() => watched.drop());

async function walhook(role: string, ...args: readonly string[]) {
  let err = "";
  const env = { DATABASE_URL: watched.db.urlAs(role) };
  const code = await main(args, env, { out: () => {}, err: (text) => (err += text) });
  return { code, err };
}

describe("who lacks a right", () => {
  it.each([
    ["Run it as the bridge's login. People ask the database: select * from walhook.status;", "check"],
    ["GRANT walhook_admin TO <role>;", "schedule"],
    ["GRANT walhook_admin TO <role>;", "keys", "jwks"],
    ["Run it as the bridge's login, or as the role that installed Walhook.", "accept-gap"],
    ["Run it as the bridge's login, or as the role that installed Walhook.", "accept-gap", "--yes"],
    ["Run it as the bridge's login, or: GRANT walhook_monitor TO <role>;", "health"],
    ["Run it as the role that installed Walhook, or as a superuser.", "uninstall"],
  ])("is told: %s (walhook %s)", async (hint, ...args) => {
    const { code, err } = await walhook(watched.roles.app, ...args);
    expect(code).toBe(3);
    expect(err).toContain(`permission denied`);
    expect(err).toContain(hint);
    expect(err).not.toContain("walhook_bridge");
  });

  it.each(["check", "accept-gap"])(
    "is never told to become the bridge, which reads all secrets, for walhook %s",
    async (command) => {
      const { code, err } = await walhook(watched.roles.admin, command);
      expect(code).toBe(3);
      expect(err).toContain("Run it as the bridge's login");
      expect(err).not.toContain("walhook_bridge");
    },
  );
});
