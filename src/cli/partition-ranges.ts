import type { PartitionRange, TornTail } from "../journal/reports.ts";
import { formatBytes, formatCount } from "./numbers.ts";
import { formatTable } from "./table.ts";

/** Which offsets of which partitions. `nameOf` gives the topic's name where it is known. */
export function formatRanges(
  ranges: readonly PartitionRange[],
  nameOf: (topicId: string) => string | undefined = () => undefined,
): string {
  const rows = ranges.map(({ topicId, partition, firstOffset, nextOffset, epochs }) => [
    nameOf(topicId) ?? topicId,
    String(partition),
    String(firstOffset),
    String(nextOffset),
    epochs.join(", "),
  ]);
  return formatTable(["TOPIC", "PARTITION", "FIRST OFFSET", "NEXT OFFSET", "EPOCHS"], rows);
}

/** A sentence, and what was dropped as far as it is known. */
export function formatTornTail({ file, position, lengthBytes, framesDropped, partitions }: TornTail): string {
  const whole = framesDropped === 0 ? "" : `, and ${formatCount(framesDropped)} whole frames behind it`;
  const sentence =
    `the last write did not come to the disk whole: ${formatBytes(lengthBytes)} at byte ${formatCount(position)} of ${file}` +
    `${whole} do not count. With fsync = "always" nothing in it was acknowledged`;
  return partitions.length === 0 ? sentence : `${sentence}. It held\n${formatRanges(partitions)}`;
}
