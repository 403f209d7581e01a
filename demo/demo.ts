import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { BridgeProcess, walhook } from "./bridge-process.ts";
import { startCluster } from "./cluster.ts";
import { Ledger } from "./ledger.ts";
import { startReceiver } from "./receiver.ts";
import { countLogged, createShop, createWebhooks } from "./sales-database.ts";
import { Screen } from "./screen.ts";
import { printInvitation, printSummary } from "./texts.ts";
import { Writer } from "./writer.ts";

const HELP = `npm start [-- --seconds <n>] [--rate <n>]

Starts a PostgreSQL 18 with a small sales database in .demo/, Walhook, a receiver that verifies signatures, and
a writer; shows every webhook as it arrives. Ends with Ctrl-C.

  --seconds <n>  write for n seconds, wait for what is under way, and end: exit code 0 where everything arrived
  --rate <n>     transactions a second (default 4)
`;
const FOLDER = join(dirname(dirname(fileURLToPath(import.meta.url))), ".demo");
/** A first attempt that fails is followed by another 5 to 6 s later. */
const DRAIN_WITHIN_MS = 30_000;
const DRAIN_ON_CTRL_C_MS = 10_000;
const SAME_SIGNAL_MS = 500;

process.exitCode = await main();

async function main(): Promise<number> {
  const options = readOptions();
  if (options === null) return 2;
  const screen = new Screen();
  const stop = new AbortController();
  listenForStop(stop, screen);
  // Everything that was started, to be ended in reverse.
  const closers: (() => Promise<unknown>)[] = [];
  try {
    return await demonstrate(options, screen, stop, closers);
  } catch (error) {
    if (stop.signal.aborted) return 130;
    screen.endTotals();
    screen.line(`${screen.style("red", "the demo failed:")} ${error instanceof Error ? error.message : String(error)}`);
    return 1;
  } finally {
    for (const close of closers.toReversed()) await close().catch((error: unknown) => screen.line(String(error)));
  }
}

async function demonstrate(
  { seconds, rate }: Options,
  screen: Screen,
  stop: AbortController,
  closers: (() => Promise<unknown>)[],
): Promise<number> {
  screen.line();
  screen.heading("Walhook: PostgreSQL row changes as signed webhooks");
  screen.line();

  const server = await startCluster(FOLDER);
  closers.push(() => server.stop());
  BridgeProcess.endLeftover(dirname(server.dataDir));
  screen.step(`PostgreSQL on port ${server.port}, data in ${server.dataDir}`);
  const shop = await createShop((database) => server.url(database));
  screen.step(`sales database "shop" ${shop}: customers, orders, invoices, shipments, partitioned measurements`);
  const said = await walhook(["install"], server.url("shop"));
  screen.step("walhook install");
  for (const line of said) if (/^applied|^the schema|^replication slot/.test(line)) screen.detail(line);

  const ledger = new Ledger();
  let writer: Writer | null = null;
  const receiver = await startReceiver((request) => {
    ledger.receive(request);
    screen.delivery(request);
    screen.totals(ledger, writer?.transactions ?? 0);
  });
  closers.push(() => receiver.close());
  const webhooks = await createWebhooks((database, role) => server.url(database, role), receiver.url);
  receiver.setSecret(webhooks.secret);
  screen.step(`${webhooks.names.length} webhooks set up by SQL (demo/webhooks.sql): ${webhooks.names.join(", ")}`);
  screen.step(`receiver on port ${receiver.port}, verifies every signature`);

  const bridge = new BridgeProcess(server.url("shop", "shop_bridge"), dirname(server.dataDir), (code) => {
    screen.line(screen.style("red", `walhook run ended with exit code ${code}; see ${bridge.logFile}`));
    stop.abort();
  });
  closers.push(() => bridge.stop());
  await bridge.running();
  screen.step(`walhook run, as role shop_bridge; its log is ${bridge.logFile}`);
  writer = await Writer.connect(server.url("shop", "shop_app"), (expectations) => ledger.expect(expectations));
  const shopWriter = writer;
  closers.push(() => shopWriter.close());
  printInvitation(screen, server.url("shop"));

  const startedAt = Date.now();
  await write(writer, rate, seconds, stop.signal);
  await drain(ledger, stop.signal.aborted ? DRAIN_ON_CTRL_C_MS : DRAIN_WITHIN_MS, () =>
    screen.totals(ledger, writer.transactions),
  );
  // A stopped bridge has written everything down, so the log can be compared with what arrived.
  screen.endTotals();
  screen.line(screen.style("dim", "stopping the bridge"));
  const exitCode = await bridge.stop();
  const logged = await countLogged(server.url("shop"), [...ledger.ids]);
  return printSummary(screen, {
    ledger,
    logged,
    exitCode,
    transactions: writer.transactions,
    rollbacks: writer.rollbacks,
    seconds: (Date.now() - startedAt) / 1000,
  });
}

/** Makes transactions at irregular moments, so many a second on average. */
async function write(writer: Writer, rate: number, seconds: number | null, signal: AbortSignal): Promise<void> {
  const end = seconds === null ? Number.POSITIVE_INFINITY : Date.now() + seconds * 1000;
  while (!signal.aborted && Date.now() < end) {
    await writer.step();
    const pauseMs = (-Math.log(1 - Math.random()) * 1000) / rate;
    await sleep(Math.min(pauseMs, Math.max(0, end - Date.now())), undefined, { signal }).catch(() => {});
  }
}

async function drain(ledger: Ledger, withinMs: number, show: () => void): Promise<void> {
  const deadline = Date.now() + withinMs;
  while (ledger.missing > 0 && Date.now() < deadline) {
    show();
    await sleep(50);
  }
}

/** The first Ctrl-C ends the demo in order, a second one at once. */
function listenForStop(stop: AbortController, screen: Screen): void {
  let firstAt = 0;
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(name, () => {
      if (stop.signal.aborted) {
        // A terminal's Ctrl-C reaches this process, and npm passes it on once more.
        if (Date.now() - firstAt < SAME_SIGNAL_MS) return;
        // oxlint-disable-next-line unicorn/no-process-exit -- the second signal means: now.
        process.exit(130);
      }
      firstAt = Date.now();
      screen.line(screen.style("dim", "stopping; once more to end at once"));
      stop.abort();
    });
  }
  // `npm start | head`: nobody reads any more.
  process.stdout.on("error", () => stop.abort());
}

interface Options {
  readonly seconds: number | null;
  readonly rate: number;
}

function readOptions(): Options | null {
  try {
    const { values } = parseArgs({
      options: { seconds: { type: "string" }, rate: { type: "string", default: "4" }, help: { type: "boolean" } },
    });
    if (values.help === true) throw new Error("");
    const seconds = values.seconds === undefined ? null : Number(values.seconds);
    const rate = Number(values.rate);
    if (seconds !== null && !(seconds > 0 && seconds < 1e6)) throw new Error("--seconds takes a number above 0");
    if (!(rate > 0 && rate <= 10_000)) throw new Error("--rate takes a number from above 0 to 10000");
    return { seconds, rate };
  } catch (error) {
    const message = error instanceof Error ? error.message : "";
    process.stdout.write(message === "" ? HELP : `${message}\n\n${HELP}`);
    return null;
  }
}
