import type { Clock } from "../runtime/clock.ts";

/** The life of one attempt: its signal fires when the caller's does or when its time is over. */
export interface Attempt {
  readonly signal: AbortSignal;
  /** Did time end it (and not the caller)? */
  timedOut(): boolean;
  /** Fires the signal now, so that whatever is still under way lets go of its socket. */
  cancel(): void;
  /** Frees timer and listener. Safe to repeat. */
  end(): void;
}

/**
 * `work`, or a rejection with the reason of `signal` as soon as it fires. For work of others that may look at the signal late, or
 * never while it waits for something else.
 */
export function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason as Error);
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
    work.then(
      (value) => {
        signal.removeEventListener("abort", onAbort);
        resolve(value);
      },
      (error: unknown) => {
        signal.removeEventListener("abort", onAbort);
        reject(error);
      },
    );
  });
}

/**
 * Starts the clock of one attempt. `end` must be called however the attempt goes: the caller's signal may live as long as the
 * process, and each listener left on it keeps a finished request in memory (so no `AbortSignal.any` either).
 */
export function startAttempt(clock: Clock, timeoutMs: number, callerSignal: AbortSignal | undefined): Attempt {
  const controller = new AbortController();
  let timedOut = false;
  const onAbort = (): void => controller.abort(callerSignal?.reason);
  if (callerSignal?.aborted === true) onAbort();
  callerSignal?.addEventListener("abort", onAbort, { once: true });
  const timer = clock.schedule(timeoutMs, () => {
    if (controller.signal.aborted) return;
    timedOut = true;
    controller.abort(new Error(`no answer within ${Math.round(timeoutMs)} ms`));
  });
  return {
    signal: controller.signal,
    timedOut: () => timedOut,
    cancel: () => controller.abort(),
    end() {
      timer.cancel();
      callerSignal?.removeEventListener("abort", onAbort);
    },
  };
}
