import { ATTRIBUTES_AT, CODEC_MASK } from "../../record/batch-header.ts";
import type { Logger } from "../../runtime/logger.ts";
import { checkBatches, type BatchTask, type BatchTaskResult } from "./check-batches.ts";
import { SharedWindows } from "./shared-windows.ts";

/** Threads that run the default export of `batch-worker.ts`, as those of `startVerifyWorkers` do. */
export interface WorkerPool {
  /** Rejects where the task was not carried out, as when its worker died. */
  run(task: BatchTask): Promise<BatchTaskResult>;
}

/** A worker may die for what has nothing to do with its task; beyond that the task has killed it, or the pool is broken. */
const POOL_ATTEMPTS = 2;
/** Tasks in a row that no worker carried out: the others are not tried with this pool any more. */
const POOL_FAILURES_MAX = 3;
const CODEC_AT = ATTRIBUTES_AT + 1;

/**
 * Runs tasks in a pool where that pays, else in this thread. What a pool does not carry out is done in this thread too: no task is
 * skipped.
 */
export class BatchChecks {
  readonly #logger: Logger;
  readonly #windows = new SharedWindows();
  #pool: WorkerPool | undefined;
  #failures = 0;

  constructor(pool: WorkerPool | undefined, logger: Logger) {
    this.#pool = pool;
    this.#logger = logger;
  }

  async check(task: BatchTask): Promise<BatchTaskResult> {
    if (this.#pool === undefined || !isCompressed(task)) return checkBatches(task);
    const bytes = this.#windows.lend(task.bytes);
    const result = await this.#checkInPool({ ...task, bytes });
    // A thread that died, or was given up, does not write.
    this.#windows.giveBack(bytes);
    return result ?? checkBatches(task);
  }

  /** undefined: no worker carried it out. */
  async #checkInPool(task: BatchTask): Promise<BatchTaskResult | undefined> {
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
    return undefined;
  }
}

/**
 * By the first batch of any run. What is not compressed is checked about as fast as it is copied to where another thread sees it: only
 * decompression is worth the way. Damaged bytes may tell a lie here, which changes the place of the check and nothing else.
 */
function isCompressed({ bytes, runs }: BatchTask): boolean {
  return runs.some(({ at, lengthBytes }) => lengthBytes > CODEC_AT && ((bytes[at + CODEC_AT] ?? 0) & CODEC_MASK) !== 0);
}
