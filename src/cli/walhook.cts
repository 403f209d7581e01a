#!/usr/bin/env node
// CommonJS, since it has to come before the first thread of the pool: while modules are loaded, Node 20 reads them by it.
// A name that does not resolve holds a thread for seconds, and half of the threads are for names (process-lookup.ts).
process.env["UV_THREADPOOL_SIZE"] ??= "64";

void import("./walhook.ts");
