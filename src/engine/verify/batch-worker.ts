import { checkBatches } from "./check-batches.ts";

/** What a worker thread does: the module that a `WorkerPool` runs its tasks in. */
export default checkBatches;
