import type { ConcernedOffsets, Finding, StoreVerification, VerifyProgress } from "../../engine/verify-store.ts";
import type { VerifyWorkers } from "../../engine/verify-workers.ts";
import { availableThreads } from "../../runtime/worker-threads.ts";
import type { Command } from "../command.ts";
import { resolveContextConfig } from "../context.ts";
import { EXIT_DAMAGE, EXIT_OK } from "../exit-code.ts";
import { formatBytes, formatCount } from "../numbers.ts";
import { formatFields, formatTable } from "../table.ts";

/** More are not fed: so many pieces of objects are under way at once. */
const THREADS_MAX = 4;

export const verify: Command = {
  name: "verify",
  usage: "[--deep] [--topic NAME] [--shard N] [flags]",
  summary: "check all that the store holds, and name what is damaged",
  details:
    "Reads the store alone and changes nothing: FORMAT, every catalog, every index file of each shard, folded from the first one and " +
    "compared with each checkpoint, and of every data object that the chain names its size and its footer. With --deep also every " +
    "batch and record, which reads all bytes. Disturbs no writer; what came after it began is not looked at. Each finding has a code, " +
    "explained in docs/verify.md; data objects that no link names are counted, and listed with --json. " +
    "Exit codes: 0 nothing is damaged; 65 damage was found; 66 no store or no such topic; 130, 143 interrupted.",
  flags: [
    { name: "deep", help: "check every batch too: CRC, offsets, leader epoch, timestamps, records" },
    { name: "topic", value: "NAME", help: "only the shards and extents of this topic; leftovers are not looked for" },
    { name: "shard", value: "N", help: "only this shard" },
  ],
  positionals: [],
  examples: [
    "tierlog verify --config config.toml",
    "tierlog verify --deep --topic events",
    "tierlog verify --json | jq -r '.findings[] | [.code, .key, .problem] | @tsv'",
  ],

  run(context, args) {
    const { output, interruption, runtime } = context;
    const shard = args.integer("shard", 0, 9999);
    return interruption.exitCodeOf(async (signal) => {
      const { config } = await resolveContextConfig(context);
      const { verifyStore } = await import("../../engine/verify-store.ts");
      const deep = args.has("deep");
      // Closed however this ends: by an error or a signal too.
      await using workers = deep ? await startWorkers() : undefined;
      const verification = await verifyStore(config, {
        deep,
        workers,
        topic: args.text("topic"),
        shard,
        signal,
        runtime,
        onProgress: (progress) => output.progress(formatProgress(progress)),
      });
      if (output.json) await output.writeJson(asJson(verification));
      else await output.writeLine(formatVerification(verification));
      return verification.clean ? EXIT_OK : EXIT_DAMAGE;
    });
  },
};

/** undefined where a thread would only take turns with this one. */
async function startWorkers(): Promise<VerifyWorkers | undefined> {
  const threads = Math.min(availableThreads(), THREADS_MAX);
  if (threads === 1) return undefined;
  const { startVerifyWorkers } = await import("../../engine/verify-workers.ts");
  return startVerifyWorkers(threads);
}

function formatProgress({ doing, objects, objectsTotal, bytes, bytesTotal, elapsedMs }: VerifyProgress): string {
  const seconds = elapsedMs / 1000;
  const done = objectsTotal === 0 ? formatCount(objects) : `${formatCount(objects)} of ${formatCount(objectsTotal)}`;
  if (bytesTotal === 0) return `${doing}: ${done} objects`;
  const rate = seconds > 0 ? `, ${formatBytes(Math.round(bytes / seconds))}/s` : "";
  return `${doing}: ${done} objects, ${formatBytes(bytes)} of ${formatBytes(bytesTotal)}${rate}`;
}

/** Every field is there, with null for what is not known. */
function asJson({ clean, storeId, deep, findings, counts, unreferenced, totals }: StoreVerification): unknown {
  return {
    clean,
    storeId: storeId ?? null,
    deep,
    findings: findings.map(({ code, severity, key, position, offsets, offsetsLeftOut, problem }) => ({
      code,
      severity,
      key,
      position: position ?? null,
      offsets: offsets.map((range) => ({ ...range, topic: range.topic ?? null })),
      offsetsLeftOut,
      problem,
    })),
    counts,
    unreferenced: unreferenced ?? null,
    totals,
  };
}

function formatVerification(verification: StoreVerification): string {
  const { findings, counts, unreferenced, totals, storeId, deep } = verification;
  const sections: string[] = [];
  if (findings.length > 0) {
    const rows = findings.map((finding) => [
      finding.severity,
      finding.code,
      finding.key,
      finding.position === undefined ? "-" : String(finding.position),
      formatOffsets(finding),
      finding.problem,
    ]);
    sections.push(formatTable(["SEVERITY", "CODE", "OBJECT", "BYTE", "OFFSETS", "PROBLEM"], rows));
    const all = Object.values(counts).reduce((sum, count) => sum + count, 0);
    if (all > findings.length) sections.push(`and ${formatCount(all - findings.length)} more findings of these codes`);
  }
  const checked = deep
    ? `${formatCount(totals.checkedBatches)} batches, ${formatCount(totals.checkedRecords)} records, ${formatBytes(totals.checkedBytes)}`
    : "not asked for: --deep";
  const below =
    totals.linksBelowBoundary === 0
      ? ""
      : `, ${formatCount(totals.linksBelowBoundary)} below the boundary, to be deleted`;
  const voidEntries = totals.voidEntries === 0 ? "" : `, ${formatCount(totals.voidEntries)} entries without effect`;
  const behind = totals.unfoldedLinks === 0 ? "" : `, ${formatCount(totals.unfoldedLinks)} behind a damaged one`;
  sections.push(
    formatFields([
      ["store", storeId ?? "-"],
      ["catalogs", formatCount(totals.catalogs)],
      ["shards", formatCount(totals.shards)],
      [
        "index files",
        `${formatCount(totals.liveLinks)} live, ${formatCount(totals.voidLinks)} void${behind}${below}${voidEntries}`,
      ],
      ["checkpoints", formatCount(totals.checkpoints)],
      ["data objects", `${formatCount(totals.dataObjects)}, ${formatBytes(totals.dataObjectBytes)}`],
      [
        "extents",
        `${formatCount(totals.extents)} with ${formatCount(totals.records)} records, ${formatBytes(totals.bytes)}`,
      ],
      ["checked deep", checked],
      [
        "unreferenced",
        unreferenced === undefined
          ? "not looked for"
          : `${formatCount(unreferenced.objects)} data objects, ${formatBytes(unreferenced.bytes)}`,
      ],
      ["time", `${(totals.elapsedMs / 1000).toFixed(1)} s`],
    ]),
    conclusion(verification),
  );
  return sections.join("\n\n");
}

function conclusion({ clean, counts, findings }: StoreVerification): string {
  if (clean) return "No damage was found.";
  const codes = new Set(findings.filter(({ severity }) => severity === "damage").map(({ code }) => code));
  const found = Object.entries(counts).filter(([code]) => [...codes].some((damage) => damage === code));
  return `Damage was found: ${found.map(([code, count]) => `${code} ${formatCount(count)}`).join(", ")}. docs/verify.md says what to do.`;
}

function formatOffsets({ offsets, offsetsLeftOut }: Finding): string {
  const [first] = offsets;
  if (first === undefined) return "-";
  const more = offsets.length - 1 + offsetsLeftOut;
  return more === 0 ? formatRange(first) : `${formatRange(first)} and ${formatCount(more)} more ranges`;
}

function formatRange({ topic, topicId, partition, firstOffset, nextOffset }: ConcernedOffsets): string {
  return `${topic ?? topicId}/${partition} ${firstOffset} … ${nextOffset - 1}`;
}
