// Loaded by walhook.cts, which sees to the threads.
import { main } from "./main.ts";

// `walhook install | head` closes the pipe early: that is no error of ours.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE") throw error;
});

process.exitCode = await main(process.argv.slice(2), process.env, {
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
});

/** Time for the last lines to leave; normally the process ends by itself before. */
const END_WITHIN_MS = 1000;
// oxlint-disable-next-line unicorn/no-process-exit -- a connection that hangs must not keep the process alive.
setTimeout(() => process.exit(), END_WITHIN_MS).unref();
