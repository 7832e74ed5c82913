import { describe, expect, test } from "vitest";

import type { AppendReceipt, Epoch, TopicId } from "../../src/domain.ts";
import { ClosedError, StorageIoError } from "../../src/errors.ts";
import type { FrameInput } from "../../src/journal/frame.ts";
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
function stage({
  journal = {},
  frameBytesMax = 1024 * 1024,
}: { journal?: object; frameBytesMax?: number } = {}): JournalStage {
  let nowMs = 0;
  const options = {
    chain: { state: { extents: () => undefined } },
    runtime: { clock: { ...systemClock, now: () => 1, monotonic: () => ++nowMs } },
    settings: { batchBytesMax: 1024 * 1024 },
    journal: {
      hasRoom: () => true,
      encode: (frame: FrameInput) => frame,
      append: () => Promise.resolve(1),
      discard: () => undefined,
      ...journal,
    },
    maxWaitMs: 1000,
    frameBytesMax,
    leave: () => undefined,
    prove: () => undefined,
    onFull: () => undefined,
    onFrame: () => undefined,
  };
  return new JournalStage(options as unknown as JournalStageOptions, 1 as Epoch);
}

function append(to: JournalStage): Promise<AppendReceipt> {
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

/** A journal whose appends end when the test says so. */
function heldJournal() {
  const encoded: FrameInput[] = [];
  const appended: {
    readonly frame: FrameInput;
    readonly resolve: () => void;
    readonly reject: (error: Error) => void;
  }[] = [];
  const discarded: FrameInput[] = [];
  const journal = {
    encode: (frame: FrameInput) => {
      encoded.push(frame);
      return frame;
    },
    append: (frame: FrameInput) =>
      new Promise<number>((resolve, reject) => {
        const sequence = appended.length + 1;
        appended.push({ frame, resolve: () => resolve(sequence), reject });
      }),
    discard: (frame: FrameInput) => discarded.push(frame),
  };
  return { journal, encoded, appended, discarded };
}

const baseOffsets = (frames: readonly FrameInput[]) =>
  frames.map(({ extents }) => extents.map(({ baseOffset }) => baseOffset));

describe("what one frame does not hold", () => {
  // So that a frame takes one append.
  const frameBytesMax = 256;

  test("is made ready while the disk is busy, one frame ahead, and written in order", async () => {
    const { journal, encoded, appended } = heldJournal();
    const busy = stage({ journal, frameBytesMax });
    const appends = [append(busy), append(busy), append(busy), append(busy)];
    await expect.poll(() => encoded.length).toBe(2);
    await afterSomeTurns();
    expect([encoded.length, appended.length]).toEqual([2, 1]);
    expect([busy.durableEnd(TARGET), busy.pendingRecords(TARGET.key)]).toEqual([0, 4]);
    for (let i = 0; i < 4; i++) {
      await expect.poll(() => appended.length).toBe(i + 1);
      appended[i]?.resolve();
      await expect(appends[i]).resolves.toMatchObject({ firstOffset: i, nextOffset: i + 1 });
      expect(busy.durableEnd(TARGET)).toBe(i + 1);
    }
    expect(baseOffsets(appended.map(({ frame }) => frame))).toEqual([[0], [1], [2], [3]]);
    await busy.settled();
    expect(busy.pendingRecords(TARGET.key)).toBe(0);
  });

  test("fails with the frame before it, and leaves its offsets to those that come then", async () => {
    const { journal, encoded, appended, discarded } = heldJournal();
    const failing = stage({ journal, frameBytesMax });
    const appends = [append(failing), append(failing), append(failing)];
    await expect.poll(() => encoded.length).toBe(2);
    appended[0]?.reject(new StorageIoError("write", "0000.jrn", { effect: "unknown" }));
    await expect(Promise.allSettled(appends)).resolves.toMatchObject([
      { reason: { code: "TIERLOG_STORAGE_IO", effect: "unknown" } },
      { reason: { code: "TIERLOG_STORAGE_IO", effect: "none" } },
      { reason: { code: "TIERLOG_STORAGE_IO", effect: "none" } },
    ]);
    await expect.poll(() => discarded).toEqual([encoded[1]]);
    expect([failing.durableEnd(TARGET), failing.pendingRecords(TARGET.key)]).toEqual([0, 0]);
    const later = append(failing);
    await expect.poll(() => appended.length).toBe(2);
    appended[1]?.resolve();
    await expect(later).resolves.toMatchObject({ firstOffset: 0, nextOffset: 1 });
  });

  test("is told when the stage is stopped, while the frame on the disk goes on", async () => {
    const { journal, encoded, appended, discarded } = heldJournal();
    const stopped = stage({ journal, frameBytesMax });
    const appends = [append(stopped), append(stopped), append(stopped)];
    await expect.poll(() => encoded.length).toBe(2);
    stopped.stop(new ClosedError("stage"));
    await expect(Promise.allSettled(appends.slice(1))).resolves.toMatchObject([
      { reason: { code: "TIERLOG_CLOSED" } },
      { reason: { code: "TIERLOG_CLOSED" } },
    ]);
    await expect.poll(() => discarded.length).toBe(1);
    appended[0]?.resolve();
    await expect(appends[0]).resolves.toMatchObject({ firstOffset: 0 });
    await stopped.settled();
    expect([stopped.durableEnd(TARGET), appended.length]).toEqual([1, 1]);
  });
});

async function afterSomeTurns(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
}
