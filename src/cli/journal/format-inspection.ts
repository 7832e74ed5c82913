import { formatBytes, formatCount } from "../numbers.ts";
import { formatRanges, formatTornTail } from "../partition-ranges.ts";
import { formatFields, formatTable } from "../table.ts";
import type { FoundJournal } from "./read-journals.ts";

/** One journal for a person. */
export function formatInspection({ shard, inspection }: FoundJournal): string {
  const { directory, journalId, live, slots, tornTail, damage, damagedFreed, aside } = inspection;
  const sections = [
    formatFields([
      ["shard", String(shard)],
      ["directory", directory],
      ["journal id", journalId],
      [
        "not uploaded",
        live.frames === 0
          ? "nothing"
          : `${formatCount(live.records)} records, ${formatBytes(live.bytes)} in ${formatCount(live.frames)} frames`,
      ],
      ["torn tail", tornTail === undefined ? "no" : "yes"],
      ["damage", damage.length === 0 ? "none" : `${formatCount(damage.length)} frames`],
      ["set aside", aside.length === 0 ? "nothing" : `${formatCount(aside.length)} files`],
    ]),
  ];
  if (slots.length > 0) {
    const rows = slots.map(({ file, fileNumber, sizeBytes, frames, liveFrames, firstSequence, lastSequence }) => [
      baseName(file),
      formatCount(fileNumber),
      formatBytes(sizeBytes),
      formatCount(frames),
      formatCount(liveFrames),
      firstSequence === undefined ? "-" : formatCount(firstSequence),
      lastSequence === undefined ? "-" : formatCount(lastSequence),
    ]);
    sections.push(formatTable(["SLOT", "USE", "SIZE", "FRAMES", "NOT UPLOADED", "FIRST", "LAST"], rows));
  }
  if (live.partitions.length > 0) sections.push(`not uploaded\n${formatRanges(live.partitions)}`);
  if (tornTail !== undefined) sections.push(formatTornTail(tornTail));
  if (damage.length > 0) {
    const lines = damage.map(({ file, position, sequence, problem }) => {
      const frame = sequence === undefined ? "" : `frame ${formatCount(sequence)}: `;
      return `  ${file} at byte ${position}: ${frame}${problem}`;
    });
    sections.push(`damage: tierlog journal salvage shows what can be saved\n${lines.join("\n")}`);
  }
  if (damagedFreed.length > 0) {
    sections.push(
      `${formatCount(damagedFreed.length)} frames that are in the store already are damaged: nothing is lost, but look at the disk`,
    );
  }
  for (const { file, frames, records, bytes, partitions, problem } of aside) {
    const head = `${file ?? ""}: ${formatCount(records)} records, ${formatBytes(bytes)} in ${formatCount(frames)} frames`;
    sections.push(problem === undefined ? `${head}\n${formatRanges(partitions)}` : `${head}; ${problem}`);
  }
  return sections.join("\n\n");
}

export function baseName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}
