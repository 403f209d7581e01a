import { describe, expect, test } from "vitest";
import { parseArguments } from "../../src/cli/arguments.ts";
import { COMMANDS } from "../../src/cli/commands.ts";
import { commandHelp, overview } from "../../src/cli/help.ts";
import { WalhookError } from "../../src/errors.ts";

function refusal(...args: string[]): WalhookError {
  try {
    parseArguments(args, COMMANDS);
  } catch (error) {
    if (error instanceof WalhookError) return error;
    throw error;
  }
  throw new Error("it was accepted");
}

describe("the command line", () => {
  test("is a command, then flags with values and switches", () => {
    const request = parseArguments(["uninstall", "--database-url=postgresql://h/d", "--drop-log"], COMMANDS);
    expect(request).toMatchObject({ kind: "run", flags: { "database-url": "postgresql://h/d" } });
    expect(request.kind === "run" && [...request.switches]).toEqual(["drop-log"]);
  });

  test("a value may stand behind a space or an equals sign", () => {
    for (const args of [["--grace-ms", "5"], ["--grace-ms=5"]]) {
      expect(parseArguments(["run", ...args], COMMANDS)).toMatchObject({ flags: { "grace-ms": "5" } });
    }
  });

  test.each([[[]], [["--help"]], [["-h"]], [["help"]]])("%j shows the overview", (args) => {
    expect(parseArguments(args, COMMANDS)).toEqual({ kind: "help", command: null });
  });

  test.each([[["run", "--help"]], [["run", "-h"]], [["run", "--grace-ms", "5", "--help"]], [["help", "run"]]])(
    "%j shows the command's page",
    (args) => {
      expect(parseArguments(args, COMMANDS)).toMatchObject({ kind: "help", command: { name: "run" } });
    },
  );

  test.each([
    ["instal", "install"],
    ["isntall", "install"],
    ["ran", "run"],
    ["chekc", "check"],
    ["uninstal", "uninstall"],
  ])("%s is refused: did you mean %s?", (typed, meant) => {
    expect(refusal(typed)).toMatchObject({ exitCode: 2, hint: `Did you mean ${meant}?` });
  });

  test("a command may have two words", () => {
    expect(parseArguments(["keys", "generate", "--kind", "ed25519"], COMMANDS)).toMatchObject({
      command: { name: "keys generate" },
      flags: { kind: "ed25519" },
    });
    expect(parseArguments(["help", "keys", "jwks"], COMMANDS)).toMatchObject({ command: { name: "keys jwks" } });
    expect(refusal("keys")).toMatchObject({ exitCode: 2, hint: "Commands: keys generate, keys jwks." });
    expect(refusal("keys", "--kind", "x").hint).toBe("Commands: keys generate, keys jwks.");
    expect(refusal("keys", "generat").hint).toBe("Did you mean keys generate?");
  });

  test("a command that resembles none is refused with the list", () => {
    expect(refusal("frobnicate").hint).toBe(
      "Commands: install, run, check, health, preview, export, apply, schedule, keys generate, keys jwks, listen, verify, sign, accept-gap, uninstall.",
    );
  });

  test.each([
    ["--databse-url", "--database-url"],
    ["--database", "--database-url"],
    ["--grace", "--grace-ms"],
    ["--log-levle", "--log-level"],
  ])("run %s is refused: did you mean %s?", (typed, meant) => {
    const error = refusal("run", typed, "1");
    expect(error).toMatchObject({ exitCode: 2, hint: `Did you mean ${meant}?` });
    expect(error.message).toBe(`walhook run knows no option ${typed}`);
  });

  test("an option of another command is refused, not ignored", () => {
    expect(refusal("install", "--drop-log").message).toBe("walhook install knows no option --drop-log");
  });

  test("a missing value, one too many, a doubled flag, a stray word and a flag before the command are refused", () => {
    expect(refusal("run", "--grace-ms").message).toBe("--grace-ms needs a value");
    expect(refusal("run", "--grace-ms", "--log-level", "info").message).toBe("--grace-ms needs a value");
    expect(refusal("uninstall", "--drop-log=yes").message).toBe("--drop-log takes no value");
    expect(refusal("run", "--grace-ms=1", "--grace-ms=2").message).toBe("--grace-ms is given twice");
    expect(refusal("run", "fast").message).toBe('"fast" is one word too many');
    expect(refusal("--log-level", "run").message).toBe("the first word must be a command, not --log-level");
  });
});

describe("--help", () => {
  test("the overview names every command and every exit code", () => {
    const text = overview(COMMANDS, "1.2.3");
    for (const command of COMMANDS) expect(text).toContain(`  ${command.name}`);
    for (const code of [0, 1, 2, 3, 4]) expect(text).toMatch(new RegExp(`^ {2}${code} {2}`, "m"));
  });

  test.each(COMMANDS.map((command) => [command.name, command] as const))(
    "walhook %s --help has its flags, variables and an example, and fits a terminal",
    (name, command) => {
      const text = commandHelp(command);
      expect(text).toContain(`Usage: walhook ${name}`);
      const needsDatabase = command.options.includes("databaseUrl");
      expect(text.includes("--database-url <url>")).toBe(needsDatabase);
      expect(text.includes("[DATABASE_URL]")).toBe(needsDatabase);
      expect(text).toMatch(/Examples:\n {2}\S/);
      for (const line of text.split("\n")) expect(line.length).toBeLessThanOrEqual(100);
    },
  );
});
