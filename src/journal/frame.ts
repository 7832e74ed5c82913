import type { Epoch, Offset, TopicId } from "../domain.ts";

/** A run of sealed batches of one partition and one leader epoch within a frame's payload. */
export interface FrameExtent {
  readonly topicId: TopicId;
  readonly partition: number;
  readonly baseOffset: Offset;
  readonly nextOffset: Offset;
  /** In the payload. */
  readonly position: number;
  readonly lengthBytes: number;
  readonly maxTimestampMs: number;
}

export interface FrameInput {
  /** The epoch under which the records were given their offsets. */
  readonly epoch: Epoch;
  readonly createdAtMs: number;
  /** Grouped by partition, in the order of their positions. */
  readonly extents: readonly FrameExtent[];
  /** The payload in pieces, in order; not changed by anybody until the append has settled. */
  readonly chunks: readonly Uint8Array[];
  /** CRC-32C of each chunk, where it is known: it guards the chunk from there on. */
  readonly chunkCrcs?: readonly (number | undefined)[];
  /** The sum of the chunks' lengths. */
  readonly payloadBytes: number;
}

/** A frame as it lies in the journal, without its payload. */
export interface Frame {
  /** From 1, grows with every frame written. */
  readonly sequence: number;
  readonly epoch: Epoch;
  readonly createdAtMs: number;
  readonly extents: readonly FrameExtent[];
  readonly payloadBytes: number;
}

export function recordsIn(extents: readonly FrameExtent[]): number {
  return extents.reduce((sum, extent) => sum + extent.nextOffset - extent.baseOffset, 0);
}
