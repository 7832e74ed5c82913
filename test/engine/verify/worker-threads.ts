import type { WorkerPool } from "../../../src/engine/verify-store.ts";
import { startWorkerThreads } from "../../../src/runtime/worker-threads.ts";

type Task = Parameters<WorkerPool["run"]>[0];
type Result = Awaited<ReturnType<WorkerPool["run"]>>;

export interface DyingPool extends WorkerPool, AsyncDisposable {
  readonly seen: { tasks: number; shared: number };
}

/** Threads that check as those of `startVerifyWorkers` do; they die in the middle of the first `deaths` tasks. */
export async function dyingPool(deaths: number): Promise<DyingPool> {
  const seen = { tasks: 0, shared: 0 };
  const tasks = new Int32Array(new SharedArrayBuffer(4));
  const threads = await startWorkerThreads<Task & { readonly deaths: number; readonly tasks: Int32Array }, Result>(
    new URL("./dying-batch-worker.mjs", import.meta.url),
    2,
  );
  return {
    seen,
    async run(task) {
      seen.tasks++;
      if (task.bytes.buffer instanceof SharedArrayBuffer) seen.shared++;
      return threads.run({ ...task, deaths, tasks });
    },
    [Symbol.asyncDispose]: () => threads.close(),
  };
}
