import { startWorkerThreads, type WorkerThreads } from "../runtime/worker-threads.ts";
import type { BatchTask, BatchTaskResult } from "./verify/check-batches.ts";

export type VerifyWorkers = WorkerThreads<BatchTask, BatchTaskResult>;

/** Starts threads for the `workers` of `verifyStore`: at least 1. The caller closes them. */
export async function startVerifyWorkers(threads: number): Promise<VerifyWorkers> {
  // Named as it is built: TypeScript rewrites imports, not this.
  return startWorkerThreads(new URL("./verify/batch-worker.js", import.meta.url), threads);
}
