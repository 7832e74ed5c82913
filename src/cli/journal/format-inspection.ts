import type { JournalInspection, SlotInspection } from "../../journal/inspect.ts";
import type { FrameDamage } from "../../journal/reports.ts";
import { formatBytes, formatCount } from "../numbers.ts";
import { formatRanges, formatTornTail } from "../partition-ranges.ts";
import { formatFields, formatTable } from "../table.ts";
import type { FoundJournal } from "./read-journals.ts";

/** One journal for a person. */
export function formatInspection({ shard, inspection }: FoundJournal): string {
  const { directory, manifest, live, slots, tornTail, problems, aside } = inspection;
  const damage = beforeTornTail(inspection);
  const sections = [
    formatFields([
      ["shard", String(shard)],
      ["directory", directory],
      ["journal id", manifest?.journalId ?? "unknown"],
      ["state", problems.length === 0 ? "can be opened" : problems.join("; ")],
      ["not uploaded", notUploaded(live)],
      ["torn tail", tornTail === undefined ? "no" : "yes"],
      ["damaged", damage.length === 0 ? "nothing" : `frames: ${formatCount(damage.length)}`],
      ["set aside", aside.length === 0 ? "nothing" : `files: ${formatCount(aside.length)}`],
    ]),
  ];
  if (slots.length > 0) {
    const rows = slots
      .map(slotJson)
      .map((slot) => [
        formatCount(slot.slot),
        formatCount(slot.use),
        formatBytes(slot.sizeBytes),
        formatBytes(slot.usedBytes),
        ...[slot.frames, slot.live].map(formatCount),
        ...[slot.firstSequence, slot.lastSequence].map((sequence) => (sequence === null ? "-" : String(sequence))),
      ]);
    sections.push(formatTable(["SLOT", "USE", "SIZE", "USED", "FRAMES", "NOT UPLOADED", "FIRST", "LAST"], rows));
  }
  if (tornTail !== undefined) sections.push(formatTornTail(tornTail));
  if (damage.length > 0) {
    const lines = damage.map(({ file, position, sequence, problem }) => {
      const frame = sequence === undefined ? "" : `frame ${sequence}: `;
      return `  ${file}, byte ${position}: ${frame}${problem}`;
    });
    const head = problems.length > 0 ? "damaged" : "damaged, and not needed: uploaded, or cut off";
    sections.push(`${head}\n${lines.join("\n")}`);
  }
  if (problems.length > 0) sections.push("tierlog journal salvage shows what can be saved");
  for (const { file, frames, records, partitions, problem } of aside) {
    const head = `${file}: ${formatCount(records)} records in ${formatCount(frames)} frames`;
    const broken = problem === undefined ? "" : `, then it is damaged: ${problem}`;
    sections.push(`${head}${broken}\n${formatRanges(partitions)}`);
  }
  return sections.join("\n\n");
}

/** A frame that the torn tail tells of already is no damage. */
function beforeTornTail({ damage, tornTail }: JournalInspection): readonly FrameDamage[] {
  return damage.filter(
    ({ file, position }) => tornTail === undefined || file !== tornTail.file || position < tornTail.position,
  );
}

function notUploaded(live: JournalInspection["live"]): string {
  if (live === undefined) return "unknown";
  if (live.frames === 0) return "nothing";
  return `${formatCount(live.records)} records, ${formatBytes(live.bytes)} in ${formatCount(live.frames)} frames`;
}

/** The same for a program. Frames are counted, not listed: a journal may hold a million. */
export function inspectionJson({ shard, inspection }: FoundJournal): Record<string, unknown> {
  const { directory, manifest, freedThrough, live, slots, tornTail, problems, aside } = inspection;
  return {
    shard,
    directory,
    journalId: manifest?.journalId ?? null,
    problems,
    freedThrough,
    live: live ?? null,
    tornTail: tornTail ?? null,
    damage: beforeTornTail(inspection),
    slots: slots.map(slotJson),
    aside: aside.map((file) => ({ ...file, problem: file.problem ?? null })),
  };
}

interface SlotJson {
  readonly slot: number;
  readonly file: string;
  /** How many files had been begun when this one was, it included; 0: none has been begun in it. */
  readonly use: number;
  readonly sizeBytes: number;
  readonly usedBytes: number;
  readonly frames: number;
  readonly live: number;
  readonly firstSequence: number | null;
  readonly lastSequence: number | null;
}

function slotJson({ slot, file, fileNumber, sizeBytes, endPosition, frames }: SlotInspection): SlotJson {
  return {
    slot,
    file,
    use: fileNumber,
    sizeBytes,
    usedBytes: fileNumber === 0 ? 0 : endPosition,
    frames: frames.length,
    live: frames.filter(({ live }) => live).length,
    firstSequence: frames[0]?.sequence ?? null,
    lastSequence: frames.at(-1)?.sequence ?? null,
  };
}

export function baseName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}
