// What the processes of a soak print beyond the lines of test/crash/rounds/child.ts; story.ts reads it.
//
// | line | meaning |
// | --- | --- |
// | `N topicId name partitions shard…` | a topic that is about to be used, with the shard of each partition |
// | `T topicId partition before` | a trim begins; `Y trim` when it has ended |
// | `D topicId` | a topic is about to be deleted; `Y delete` when it is |
// | `G topicId partition offset id… .` | a reader of what is uploaded found these, one after the other |
// | `J topicId partition offset id… .` | the same of what may only be journaled |
// | `Y what` | something happened that is counted |
// | `B text` | a promise is broken |
// | `E code` | an engine answered with an error that it may answer with |
// | `M 0`, `M 1` | no merge is under way; one is |
// | `U rss fds heap` | bytes of memory, open file descriptors, bytes of the heap |
// | `V json` | numbers of the engine since the last such line |
import { readdirSync } from "node:fs";

import { print } from "../crash/rounds/child-lines.mjs";

export function printUse() {
  setInterval(() => {
    const { rss, heapUsed } = process.memoryUsage();
    print(`U ${rss} ${readdirSync("/proc/self/fd").length} ${heapUsed}\n`);
  }, 250);
}

/** What no fault of a store explains. */
const NEVER = new Set([
  "TIERLOG_CORRUPTION",
  "TIERLOG_INVARIANT",
  "TIERLOG_MISSING_OBJECT",
  "TIERLOG_INVALID_ARGUMENT",
]);

/** Says that an engine answered with this error. */
export function printError(doing, error) {
  if (error.code === undefined || NEVER.has(error.code))
    print(`B ${doing}: ${error.stack}`.replaceAll("\n", " | ") + "\n");
  else print(`E ${error.code}\n`);
}
