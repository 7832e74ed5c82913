import type { Logger } from "../../runtime/logger.ts";
import { checkBatches, type BatchTask, type BatchTaskResult } from "./check-batches.ts";

/** Threads that run the default export of `batch-worker.ts`. A Piscina of that file is one. */
export interface WorkerPool {
  /** Rejects where the task was not carried out, as when its worker died. */
  run(task: BatchTask): Promise<BatchTaskResult>;
}

/** A worker may die for what has nothing to do with its task; beyond that the task has killed it, or the pool is broken. */
const POOL_ATTEMPTS = 2;
/** Tasks in a row that no worker carried out: the others are not tried with this pool any more. */
const POOL_FAILURES_MAX = 3;

/** Runs tasks in a pool, or where there is none, or it fails, in this thread: none is skipped. */
export class BatchChecks {
  readonly #logger: Logger;
  #pool: WorkerPool | undefined;
  #failures = 0;

  constructor(pool: WorkerPool | undefined, logger: Logger) {
    this.#pool = pool;
    this.#logger = logger;
  }

  /** Do tasks go to other threads? Then their bytes should lie where these can read them. */
  get isThreaded(): boolean {
    return this.#pool !== undefined;
  }

  async check(task: BatchTask): Promise<BatchTaskResult> {
    for (let attempt = 1; attempt <= POOL_ATTEMPTS && this.#pool !== undefined; attempt++) {
      try {
        const result = await this.#pool.run(task);
        this.#failures = 0;
        return result;
      } catch (error) {
        const { key, position } = task;
        this.#logger.warn("a worker did not finish its check; the check is made again", {
          key,
          position,
          problem: String(error),
        });
      }
    }
    if (this.#pool !== undefined && ++this.#failures >= POOL_FAILURES_MAX) {
      this.#pool = undefined;
      this.#logger.warn("workers keep failing; the other checks are made without them");
    }
    return checkBatches(task);
  }
}
