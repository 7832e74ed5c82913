import { setMaxListeners } from "node:events";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";

/** Threads that all run one function. */
export interface WorkerThreads<Task, Result> extends AsyncDisposable {
  readonly threads: number;
  /**
   * `task` is copied; bytes on a SharedArrayBuffer are not. Where no thread is free it waits for one, without a bound: the caller
   * limits how many are under way. Rejects where the task was not carried out, as when its thread died.
   */
  run(task: Task): Promise<Result>;
  /** Ends the threads, whatever they do; tasks under way reject. */
  close(): Promise<void>;
}

/** How many threads this machine, or the container's share of it, can run at once. */
export function availableThreads(): number {
  return availableParallelism();
}

/**
 * `module`: a built one, whose default export takes a task and returns its result; both are plain data. A thread that dies is replaced;
 * where none can be started any more all tasks reject, those to come too.
 */
export async function startWorkerThreads<Task, Result>(
  module: URL,
  threads: number,
): Promise<WorkerThreads<Task, Result>> {
  // A reader of a topic needs no pool: it is loaded with the first one.
  const { Piscina } = await import("piscina");
  const pool = new Piscina<Task, Result>({
    filename: fileURLToPath(module),
    minThreads: threads,
    maxThreads: threads,
    idleTimeout: Number.POSITIVE_INFINITY,
    recordTiming: false,
  });
  const broken = new AbortController();
  setMaxListeners(0, broken.signal);
  // A thread that died without a task, which is one that could not start. Without a listener the event ends the process.
  pool.on("error", (error: unknown) => broken.abort(error));
  // One that exits while it starts is not told by an event, nor replaced: what waits for it would wait for ever.
  pool.on("workerDestroy", () =>
    queueMicrotask(() => {
      if (pool.threads.length === 0) broken.abort(new Error("no worker thread is left"));
    }),
  );
  const close = async (): Promise<void> => {
    broken.abort(new Error("the worker threads are closed"));
    await pool.destroy();
  };
  return {
    threads,
    async run(task) {
      try {
        return await pool.run(task, { signal: broken.signal });
      } catch (error) {
        // "The task has been aborted" is what the pool says of it.
        if (broken.signal.aborted) throw broken.signal.reason;
        throw error;
      }
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}
