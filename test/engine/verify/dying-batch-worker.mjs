import { checkBatches } from "../../../dist/engine/verify/check-batches.js";

/** Checks, and in the first `deaths` of its tasks ends in the middle, as a crash does. `tasks` counts those of all threads. */
export default function check({ deaths, tasks, ...task }) {
  if (Atomics.add(tasks, 0, 1) < deaths) {
    checkBatches({ ...task, runs: task.runs.slice(0, 1) });
    process.exit(1);
  }
  return checkBatches(task);
}
