import type { Dispatcher } from "undici";
import { classifyFailure, MAX_INFORMATIONAL, NoHttpError } from "./error-class.ts";
import type { ObservedClient, ObservedOptions } from "./observed-client.ts";
import type { Opening } from "./opening.ts";
import { MAX_RESPONSE_BYTES, type TransportRequest, type TransportResult, type Trip } from "./transport.ts";

/** One request under way. Settles once, by the answer's end, its limit, an error or the deadline. */
export class Exchange implements Dispatcher.DispatchHandler {
  /** Null: no connection has been chosen yet. */
  client: ObservedClient | null = null;
  readonly #startedAt = performance.now();
  readonly #settle: (result: TransportResult) => void;
  readonly #timer: NodeJS.Timeout;
  #agent: Dispatcher | null = null;
  #options: ObservedOptions | null = null;
  #isSecondTry = false;
  #controller: Dispatcher.DispatchController | null = null;
  #abandoned: Error | null = null;
  #isSettled = false;
  /** Of the connection that it went over, or waited for. */
  #opening: Opening | null = null;
  #isFirst = false;
  #firstByteMs: number | null = null;
  #informational = 0;
  #statusCode = 0;
  #headers: Record<string, string> = {};
  readonly #body: Buffer[] = [];
  #bodyBytes = 0;

  constructor({ timeoutMs }: TransportRequest, settle: (result: TransportResult) => void) {
    this.#settle = settle;
    this.#timer = setTimeout(() => {
      const timeout = Object.assign(new Error(`no complete answer within ${timeoutMs} ms`), { code: "DEADLINE" });
      this.fail(timeout);
      this.#abandon(timeout);
    }, timeoutMs);
  }

  /** @throws what undici says of a request that cannot be sent */
  start(agent: Dispatcher, options: ObservedOptions): void {
    this.#agent = agent;
    this.#options = options;
    agent.dispatch(options, this);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    this.#look();
    // The deadline may have passed while the request waited for a connection: then it must not be sent.
    if (this.#abandoned !== null) controller.abort(this.#abandoned);
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    statusCode: number,
    headers: NodeJS.Dict<string | string[]>,
  ): void {
    if (statusCode < 200) {
      if (++this.#informational > MAX_INFORMATIONAL) {
        controller.abort(new NoHttpError(`more than ${MAX_INFORMATIONAL} answers of 1xx before the answer`));
      }
      return;
    }
    this.#firstByteMs = this.#elapsedMs();
    this.#statusCode = statusCode;
    for (const [name, value] of Object.entries(headers)) {
      if (value !== undefined) this.#headers[name] = Array.isArray(value) ? value.join(", ") : value;
    }
    // It has no body, whatever else comes.
    if (statusCode === 204) this.#complete();
  }

  onResponseData(_: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#body.push(chunk);
    this.#bodyBytes += chunk.length;
    if (this.#bodyBytes < MAX_RESPONSE_BYTES) return;
    this.#complete();
    this.#abandon(new Error("the rest of the answer is not read"));
  }

  onResponseEnd(): void {
    this.#complete();
  }

  onResponseError(_: Dispatcher.DispatchController, error: Error): void {
    if (this.#mayTryAgain(error)) setImmediate(() => this.#tryAgain());
    else this.fail(error);
  }

  fail(error: unknown): void {
    if (this.#isSettled) return;
    if (this.#opening === null) this.#look();
    this.#finish({
      kind: "failure",
      ...classifyFailure(error),
      durationMs: this.#elapsedMs(),
      trip: this.#trip(),
    });
  }

  /** Receivers close idle connections, and a request may be on its way just then. */
  #mayTryAgain(error: Error): boolean {
    const isIdle = this.#opening !== null && !this.#isFirst && this.#firstByteMs === null;
    if (!isIdle || this.#isSecondTry || this.#isSettled) return false;
    return classifyFailure(error).errorClass === "reset";
  }

  #tryAgain(): void {
    if (this.#isSettled) return;
    this.#isSecondTry = true;
    this.#opening = null;
    this.#controller = null;
    this.#agent!.dispatch(this.#options!, this);
  }

  #complete(): void {
    const body = Buffer.concat(this.#body).subarray(0, MAX_RESPONSE_BYTES).toString("utf8");
    const { ["set-cookie"]: _secret, ...headers } = this.#headers;
    this.#finish({
      kind: "response",
      statusCode: this.#statusCode,
      headers,
      body,
      durationMs: this.#elapsedMs(),
      trip: this.#trip(),
    });
  }

  /** Takes what is known of the connection, and whether it was made for this request. */
  #look(): void {
    const opening = this.client?.opening ?? null;
    if (opening === null) return;
    this.#opening = opening;
    this.#isFirst = !opening.isTold;
    opening.isTold = true;
  }

  #trip(): Trip {
    const opening = this.#isFirst ? this.#opening : null;
    return {
      dnsMs: opening?.dnsMs ?? null,
      connectMs: opening?.connectMs ?? null,
      tlsMs: opening?.tlsMs ?? null,
      firstByteMs: this.#firstByteMs,
      remoteAddress: this.#opening?.remoteAddress ?? null,
    };
  }

  #finish(result: TransportResult): void {
    if (this.#isSettled) return;
    this.#isSettled = true;
    clearTimeout(this.#timer);
    this.#settle(result);
  }

  #abandon(reason: Error): void {
    this.#abandoned = reason;
    this.#controller?.abort(reason);
  }

  #elapsedMs(): number {
    return performance.now() - this.#startedAt;
  }
}
