import { Client, type Dispatcher } from "undici";
import type { GuardedConnector } from "./address-connect.ts";
import type { Opening } from "./opening.ts";

/** What a request is dispatched with, so that it learns by which client it goes. */
export interface ObservedOptions extends Dispatcher.DispatchOptions {
  readonly exchange: { client: ObservedClient | null };
}

/** A client of one connection at a time, which knows how that one was made: undici shows a request nothing of it. */
export class ObservedClient extends Client {
  /** Of the present connection; null: none was dialled yet. */
  opening: Opening | null = null;

  constructor(origin: string | URL, options: object, connector: GuardedConnector) {
    super(origin, {
      ...options,
      connect: (...dialling) => {
        this.opening = connector(...dialling);
      },
    });
  }

  override dispatch(options: ObservedOptions, handler: Dispatcher.DispatchHandler): boolean {
    options.exchange.client = this;
    return super.dispatch(options, handler);
  }
}
