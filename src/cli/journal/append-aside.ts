import type { TopicId } from "../../domain.ts";
import type { EngineApi, TopicApi } from "../../engine/api.ts";
import type { Frame } from "../../journal/frame.ts";
import { PartitionRanges, type PartitionRange } from "../../journal/reports.ts";
import { readExtent } from "../../record/batch.ts";
import { AppendWindow } from "../append-window.ts";

export interface AppendedAside {
  readonly records: number;
  readonly bytes: number;
  /** Where the appended records stand now. */
  readonly partitions: readonly PartitionRange[];
  /** What was not appended, because its topic is gone: where it stood. */
  readonly skipped: readonly PartitionRange[];
}

export interface AppendAsideOptions {
  readonly engine: EngineApi;
  /** In their order, checked: `readAside`. */
  readonly frames: AsyncIterable<{ readonly frame: Frame; readonly payload: Uint8Array }>;
  /** For messages. */
  readonly file: string;
  /** Of what waits for its ack. */
  readonly maxPendingBytes: number;
  readonly onProgress: (records: number) => void;
}

const APPENDS_IN_FLIGHT = 256;

/**
 * Appends the batches of frames that were set aside as new records to the topics that they were meant for, those of a partition in
 * their order, and waits until all are in the store. They get new offsets behind what is there. Rejects with the first error, when all
 * is settled: then some may have been appended, and would be once more by the next call.
 */
export async function appendAside(options: AppendAsideOptions): Promise<AppendedAside> {
  const { engine, file } = options;
  const topics = new Map<TopicId, TopicApi>();
  for (const { id, name } of await engine.listTopics()) {
    const topic = await engine.topic(name);
    // Somebody may have made it anew in between.
    if (topic.description.id === id) topics.set(id, topic);
  }
  const window = new AppendWindow({ maxBytes: options.maxPendingBytes, maxAppends: APPENDS_IN_FLIGHT });
  const appended = new PartitionRanges();
  const skipped = new PartitionRanges();
  let records = 0;
  let bytes = 0;
  try {
    for await (const { frame, payload } of options.frames) {
      for (const extent of frame.extents) {
        const topic = topics.get(extent.topicId);
        if (topic === undefined) {
          skipped.add(frame.epoch, [extent]);
          continue;
        }
        const partition = topic.partition(extent.partition);
        const encoded = payload.subarray(extent.position, extent.position + extent.lengthBytes);
        const where = { key: `${file}, frame ${frame.sequence}`, position: extent.position };
        for (const batch of readExtent(encoded, { ...extent, epoch: frame.epoch }, where)) {
          await window.room();
          const append = partition
            .append({ encodedBatch: batch.bytes }, { ack: "uploaded" })
            .then(({ firstOffset, nextOffset, epoch }) => {
              appended.add(epoch, [{ ...extent, baseOffset: firstOffset, nextOffset }]);
              records += nextOffset - firstOffset;
              bytes += batch.bytes.length;
              options.onProgress(records);
            });
          window.add(batch.bytes.length, append);
        }
      }
    }
  } finally {
    // Also after an error: the engine must not be closed under appends that still run.
    await window.drain();
  }
  return { records, bytes, partitions: appended.list(), skipped: skipped.list() };
}
