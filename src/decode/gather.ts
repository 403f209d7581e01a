import { Observable, type OperatorFunction } from "rxjs";

export interface GatherOptions<T, R> {
  /** `later` came after `earlier`: both as one value. */
  readonly merge: (earlier: T, later: T) => T;
  /** Nothing more is merged into such a value. */
  readonly isFull: (value: T) => boolean;
  /** Nothing that comes after such a value is merged with it. Default: none. */
  readonly isBarrier?: (value: T) => boolean;
  readonly project: (value: T) => Promise<R> | R;
}

/**
 * Like `concatMap`, but what arrives while a projection is under way is merged and projected together: one
 * question for a hundred small values, and no delay for a single one. Results keep the order of the values.
 *
 * What waits is not bounded here: the source has to stop by itself (back-pressure at the socket). A projection
 * that answers at once costs no turn of the event loop. Its errors end the result; what it does goes on after an
 * unsubscription, but nobody is told.
 */
export function gatherMap<T, R>(options: GatherOptions<T, R>): OperatorFunction<T, R> {
  const { merge, isFull, isBarrier = () => false, project } = options;
  return (source) =>
    new Observable((subscriber) => {
      const waiting: T[] = [];
      let isProjecting = false;
      let isSourceDone = false;

      const add = (value: T): void => {
        const last = waiting.at(-1);
        if (last === undefined || isFull(last) || isBarrier(last)) waiting.push(value);
        else waiting[waiting.length - 1] = merge(last, value);
      };
      const finish = (result: R): void => {
        isProjecting = false;
        subscriber.next(result);
      };
      const fail = (reason: unknown): void => subscriber.error(reason);
      /** Projects until a projection takes its time or nothing waits. Never runs inside itself. */
      let isRunning = false;
      const run = (): void => {
        if (isRunning) return;
        isRunning = true;
        try {
          while (!isProjecting && waiting.length > 0 && !subscriber.closed) {
            isProjecting = true;
            const result = project(waiting.shift() as T);
            if (isPromise(result)) {
              result.then((value) => {
                finish(value);
                return run();
              }, fail);
            } else finish(result);
          }
        } catch (error) {
          fail(error);
        } finally {
          isRunning = false;
        }
        if (isSourceDone && !isProjecting && waiting.length === 0) subscriber.complete();
      };

      const subscription = source.subscribe({
        next: (value) => {
          try {
            add(value);
          } catch (error) {
            fail(error);
          }
          run();
        },
        error: fail,
        complete: () => {
          isSourceDone = true;
          run();
        },
      });
      return () => subscription.unsubscribe();
    });
}

function isPromise<R>(value: Promise<R> | R): value is Promise<R> {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";
}
