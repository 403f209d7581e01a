import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { applyPatches } from "../../torture/bridges/apply-patches.ts";
import { FAIL_POINTS } from "../../torture/bridges/fail-points.ts";
import { MUTANT_NAMES, scenarioOf } from "../../torture/mutants/mutant-scenarios.ts";
import { patchesNamed } from "../../torture/bridges/patches.ts";
import { ROOT } from "../../torture/root.ts";

const failPoints = FAIL_POINTS.map(({ name }) => name);

/** The built file with what it is changed to. */
function patched(file: string, names: readonly string[]): string {
  const ofFile = patchesNamed(names).filter((patch) => patch.file === file);
  return applyPatches(readFileSync(join(ROOT, "dist", file), "utf8"), ofFile);
}

function filesOf(names: readonly string[]): readonly string[] {
  return [...new Set(patchesNamed(names).map(({ file }) => file))];
}

describe("the fail points of the torture test", () => {
  it.each(FAIL_POINTS.map(({ name, file }) => [name, file]))("%s: its place stands once in dist/%s", (name, file) => {
    expect(patched(file, [name])).toContain(`torture.pass("${name}")`);
  });
});

describe("the mutants of the torture test", () => {
  it.each(MUTANT_NAMES)(
    "the bridge %s: the text that it replaces stands once in dist/, beside the fail points",
    (name) => {
      for (const file of filesOf([name])) {
        expect(patched(file, [name, ...failPoints])).not.toBe(patched(file, failPoints));
      }
    },
  );

  it.each(MUTANT_NAMES)("the bridge %s: there is a scenario for it", (name) => {
    expect(scenarioOf(name).name).not.toBe("");
  });

  it("a text that is not there, or is there twice, is refused", () => {
    const patch = { name: "p", file: "f.js", find: "x", replace: "y" };
    expect(() => applyPatches("abc", [patch])).toThrow('patch "p": its text is 0 times in dist/f.js, not once');
    expect(() => applyPatches("x x", [patch])).toThrow('patch "p": its text is 2 times in dist/f.js, not once');
  });
});
