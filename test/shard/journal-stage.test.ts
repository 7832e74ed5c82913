import { expect, test } from "vitest";

import type { Epoch, TopicId } from "../../src/domain.ts";
import { ClosedError } from "../../src/errors.ts";
import { systemClock } from "../../src/runtime/clock.ts";
import { JournalStage, type JournalStageOptions } from "../../src/shard/journal-stage.ts";
import { waiting } from "../../src/shard/pending.ts";

const TARGET = {
  topicId: "ab".repeat(16) as TopicId,
  partition: 0,
  key: `${"ab".repeat(16)}/0`,
  compression: "none",
} as const;

/** Over a journal that takes everything; each look at the clock finds it later. */
function stage(): JournalStage {
  let nowMs = 0;
  const options = {
    chain: { state: { extents: () => undefined } },
    runtime: { clock: { ...systemClock, now: () => 1, monotonic: () => ++nowMs } },
    settings: { batchBytesMax: 1024 * 1024 },
    journal: { hasRoom: () => true, append: () => Promise.resolve(1) },
    maxWaitMs: 1000,
    frameBytesMax: 1024 * 1024,
    leave: () => undefined,
    prove: () => undefined,
    onFull: () => undefined,
    onFrame: () => undefined,
  };
  return new JournalStage(options as unknown as JournalStageOptions, 1 as Epoch);
}

function append(to: JournalStage): Promise<unknown> {
  const { promise, waiter } = waiting("journaled");
  to.addRecords(TARGET, [{ value: Buffer.from("v") }], 100, waiter);
  return promise;
}

test("stopped in the turn in which appends came, a stage tells them, and is settled", async () => {
  const stopped = stage();
  const appends = [append(stopped), append(stopped)];
  stopped.stop(new ClosedError("stage"));
  await expect(Promise.allSettled(appends)).resolves.toMatchObject([{ status: "rejected" }, { status: "rejected" }]);
  await expect(stopped.settled()).resolves.toBeUndefined();
});

test("appends that come for longer than a frame takes do not wait for the end of their turn", async () => {
  const busy = stage();
  const appends = Array.from({ length: 100 }, () => append(busy));
  expect(busy.frames).toBe(1);
  await expect(Promise.all(appends)).resolves.toHaveLength(100);
  expect(busy.frames).toBe(2);
});
