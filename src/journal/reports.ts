import type { Epoch, Offset, TopicId } from "../domain.ts";
import type { FrameExtent } from "./frame.ts";

/** The offsets of one partition that some frames hold. */
export interface PartitionRange {
  readonly topicId: TopicId;
  readonly partition: number;
  readonly firstOffset: Offset;
  readonly nextOffset: Offset;
  /** Ascending, each once. */
  readonly epochs: readonly Epoch[];
}

/** The end of the journal that never came to the disk whole: dropped, and reported with all that can be told about it. */
export interface TornTail {
  readonly file: string;
  /** Where the first bytes that do not count lie in `file`. */
  readonly position: number;
  /** Up to the last block that can be recognised as part of what was being written, in all files. */
  readonly lengthBytes: number;
  /** Of the first frame that is missing, where that is known. */
  readonly sequence: number | undefined;
  /** Whole frames that stand behind the missing one and so do not count either (fsync "interval" and "never" only). */
  readonly framesDropped: number;
  /** What the dropped frames held, as far as their directories can be read. */
  readonly partitions: readonly PartitionRange[];
}

/** A place where a frame should be and is not whole. */
export interface FrameDamage {
  readonly file: string;
  readonly position: number;
  /** undefined where the frame's header cannot be read. */
  readonly sequence: number | undefined;
  readonly problem: string;
}

/** What opening a journal found. */
export interface OpenReport {
  /** The directory was made by this call. */
  readonly created: boolean;
  /** Live frames: written, not freed, not set aside. */
  readonly frames: number;
  readonly records: number;
  /** Payload of the live frames. */
  readonly bytes: number;
  readonly tornTail: TornTail | undefined;
  /** Damage of frames that were freed long ago: costs nothing, but says something about the disk. */
  readonly damagedFreed: readonly FrameDamage[];
}

/** Frames taken out of the journal for people to look at. */
export interface AsideReport {
  /** undefined: there was nothing to set aside. */
  readonly file: string | undefined;
  readonly frames: number;
  readonly records: number;
  /** Payload. */
  readonly bytes: number;
  readonly partitions: readonly PartitionRange[];
}

export interface JournalMetrics {
  readonly liveFrames: number;
  /** Payload of the live frames. */
  readonly liveBytes: number;
  /** When the oldest live frame was written; undefined when there is none. */
  readonly oldestLiveCreatedAtMs: number | undefined;
  /** Files on disk, recycled ones and spare ones too. */
  readonly files: number;
  /** Of all files, whatever they hold. */
  readonly usedBytes: number;
  /** `max_size`. */
  readonly maxBytes: number;
  /** Since it was opened, like all counts below. */
  readonly framesWritten: number;
  /** With headers, padding and end marks. */
  readonly bytesWritten: number;
  readonly syncs: number;
  readonly syncFailures: number;
  readonly filesCreated: number;
  readonly filesRecycled: number;
  /** Given up because a write or a sync on them failed. */
  readonly filesFailed: number;
  /** "refused": wanted, but the file system does not take it. */
  readonly oDirect: "off" | "on" | "refused";
}

/** Gathers the offsets of many extents by partition. */
export class PartitionRanges {
  readonly #ranges = new Map<
    string,
    { -readonly [K in keyof PartitionRange]: K extends "epochs" ? Epoch[] : PartitionRange[K] }
  >();

  add(epoch: Epoch, extents: readonly FrameExtent[]): void {
    for (const { topicId, partition, baseOffset, nextOffset } of extents) {
      const key = `${topicId}/${partition}`;
      const range = this.#ranges.get(key);
      if (range === undefined) {
        this.#ranges.set(key, { topicId, partition, firstOffset: baseOffset, nextOffset, epochs: [epoch] });
        continue;
      }
      if (baseOffset < range.firstOffset) range.firstOffset = baseOffset;
      if (nextOffset > range.nextOffset) range.nextOffset = nextOffset;
      if (!range.epochs.includes(epoch)) range.epochs = [...range.epochs, epoch].sort((a, b) => a - b);
    }
  }

  list(): readonly PartitionRange[] {
    return [...this.#ranges.values()];
  }
}
