import { register } from "node:module";
import { patchesNamed } from "./patches.ts";

/** Loaded before the bridge by `node --import`: changes its files as they are loaded, and gives the changes their words. */
const names = (process.env["TORTURE_PATCHES"] ?? "").split(",").filter((name) => name !== "");
if (names.length > 0) {
  await import("./inside.ts");
  register(new URL("./patch-loader.js", import.meta.url), { data: patchesNamed(names) });
}
