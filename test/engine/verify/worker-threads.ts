import { once } from "node:events";
import { Worker } from "node:worker_threads";

import type { WorkerPool } from "../../../src/engine/verify-store.ts";

const MODULE = new URL("../../../dist/engine/verify/batch-worker.js", import.meta.url).href;

/** Runs the tasks that its thread gets; with `deaths` it ends in the middle of the first ones instead, as a crash does. */
const SOURCE = `
  const { parentPort, workerData } = require("node:worker_threads");
  const ready = import(workerData.module);
  parentPort.on("message", async (task) => {
    if (workerData.dies) process.exit(1);
    parentPort.postMessage((await ready).default(task));
  });
`;

/** One thread for each task: what a pool is to its caller. The first `deaths` of them die. */
export function threadPool(deaths: number): WorkerPool & { readonly seen: { tasks: number; shared: number } } {
  const seen = { tasks: 0, shared: 0 };
  return {
    seen,
    async run(task) {
      seen.tasks++;
      if (task.bytes.buffer instanceof SharedArrayBuffer) seen.shared++;
      const worker = new Worker(SOURCE, { eval: true, workerData: { module: MODULE, dies: seen.tasks <= deaths } });
      try {
        // A thread has no origin.
        // oxlint-disable-next-line unicorn/require-post-message-target-origin
        worker.postMessage(task);
        const ended = once(worker, "exit").then(([code]) => {
          throw new Error(`worker ended with exit code ${String(code)}`);
        });
        const [result] = (await Promise.race([once(worker, "message"), ended])) as [
          Awaited<ReturnType<WorkerPool["run"]>>,
        ];
        return result;
      } finally {
        worker.removeAllListeners();
        await worker.terminate();
      }
    },
  };
}
