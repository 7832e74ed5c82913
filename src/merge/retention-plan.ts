import type { Offset } from "../domain.ts";
import type { ExtentList } from "../index-chain/extent-list.ts";

/** What of a partition is kept. 0: without that bound. */
export interface RetentionLimits {
  readonly ms: number;
  readonly bytes: number;
}

/**
 * Where a partition is to begin by these limits, at an extent's edge; undefined where it stays as it is. Leading extents go while
 * the rest still holds `bytes`, and while all their records are older than `ms`: the greatest timestamp of an extent is believed. So time
 * can empty a partition, as in Kafka, whose active segment expires too; size never takes the newest extent. An extent without
 * timestamps (below 0, as a producer may send) is of unknown age: it stays, and holds back what comes behind it.
 */
export function retainedStart(
  extents: Pick<ExtentList, "count" | "bytes" | "nextOffset" | "at">,
  { ms, bytes }: RetentionLimits,
  nowMs: number,
): Offset | undefined {
  let dropped = 0;
  let restBytes = extents.bytes;
  for (; dropped < extents.count; dropped++) {
    const { lengthBytes, maxTimestampMs } = extents.at(dropped);
    const surplus = bytes > 0 && restBytes - lengthBytes >= bytes;
    const expired = ms > 0 && maxTimestampMs >= 0 && maxTimestampMs < nowMs - ms;
    if (!surplus && !expired) break;
    restBytes -= lengthBytes;
  }
  if (dropped === 0) return undefined;
  return dropped === extents.count ? extents.nextOffset : extents.at(dropped).baseOffset;
}
