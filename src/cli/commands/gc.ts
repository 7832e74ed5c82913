import type { Config } from "../../config/config.ts";
import { formatDuration } from "../../config/duration.ts";
import type { EngineApi } from "../../engine/api.ts";
import type {
  CollectedGarbage,
  FoundGarbage,
  GarbageProgress,
  GarbageSummary,
  ShardOwner,
} from "../../engine/garbage-reports.ts";
import { InvalidArgumentError } from "../../errors.ts";
import type { Command } from "../command.ts";
import type { CommandContext } from "../context.ts";
import { withEngine } from "../engine-session.ts";
import { EXIT_GARBAGE_LEFT, EXIT_OK } from "../exit-code.ts";
import { formatBytes, formatCount } from "../numbers.ts";
import type { Output } from "../output.ts";

export const gc: Command = {
  name: "gc",
  usage: "[--dry-run | --take-over] [flags]",
  summary: "free space in the store",
  details:
    "Deletes what nobody needs any more: index files behind a checkpoint, data that was merged, trimmed or whose topic was deleted, and " +
    "what crashes left. A running producer does the same by itself, in the background (system.gc): this is for a store that nobody " +
    "writes to. It takes every shard over, which ends the turn of a producer that runs: without --take-over it refuses unless the last " +
    "owners have given their shards back. Then it waits system.gc.grace (1h) between seeing and deleting, because readers may still be " +
    "at it; --set system.gc.grace=1s is safe only while nobody reads or writes. May be interrupted at any time and given again. " +
    "--dry-run only looks, beside whoever writes, and shows what would go; AGE is since it was stored. What has no link and may get one is " +
    "left to the owner of its shard. Ends with 75 where something could not be deleted.",
  flags: [
    { name: "dry-run", help: "show what would go, and change nothing" },
    { name: "take-over", help: "also where owners have not given their shards back" },
  ],
  positionals: [],
  examples: [
    "tierlog gc --dry-run",
    "tierlog gc --dry-run --json | jq -r 'select(.kind == \"object\") | .key'",
    "tierlog gc",
    "tierlog gc --take-over --set system.gc.grace=10m",
  ],

  run(context, args) {
    if (args.has("dry-run") && args.has("take-over"))
      throw new InvalidArgumentError("--dry-run", undefined, "takes nothing over: give it or --take-over, not both");
    return context.interruption.exitCodeOf(async (signal) => {
      if (args.has("dry-run"))
        return withEngine(context, { readOnly: true }, (engine, config) => look(context, engine, config, signal));
      const owned = await withEngine(context, { readOnly: true }, (engine) => engine.listShards());
      const [foreign, ...others] = owned.filter(({ owner }) => owner !== "");
      if (foreign !== undefined && !args.has("take-over")) throw missingTakeOver(foreign, others.length);
      return withEngine(context, { readOnly: false }, (engine, config) => collect(context, engine, config, signal));
    });
  },
};

function missingTakeOver({ shard, owner, epoch }: ShardOwner, others: number): InvalidArgumentError {
  const more = others === 0 ? "" : ` (and ${others} more shards have owners)`;
  return new InvalidArgumentError(
    "--take-over",
    undefined,
    `is missing: shard ${shard} belongs to ${owner} since epoch ${epoch}, which has not given it back${more}. If it runs, it frees ` +
      "space by itself; if it is dead, give --take-over to end its turn. tierlog gc --dry-run shows what there is",
  );
}

async function look(
  { output, runtime }: CommandContext,
  engine: EngineApi,
  config: Config,
  signal: AbortSignal,
): Promise<number> {
  let shown = 0;
  const summary = await engine.findGarbage({
    signal,
    onProgress: (doing) => output.progress(doing),
    onFound: async (found) => {
      if (output.json)
        return output.writeJson({ ...found, storedAt: found.storedAt ?? null, reason: found.reason ?? null });
      if (shown++ === 0) await output.writeLine(row(["KIND", "AGE", "SIZE", "REASON", "NAME"]));
      await output.writeLine(row(cells(found, runtime.clock.now())));
    },
  });
  if (output.json) await output.writeJson({ total: summary });
  else await output.writeLine(`${shown === 0 ? "" : "\n"}${told(summary, config)}`);
  return EXIT_OK;
}

/** Printed as they are found, of any number: the widths are fixed. */
const WIDTHS = [10, 7, 10, 23, 0];
const ONLY_OWNER = "only its owner knows";

function row(texts: readonly string[]): string {
  return texts
    .map((text, i) => (i === 1 || i === 2 ? text.padStart(WIDTHS[i] ?? 0) : text.padEnd(WIDTHS[i] ?? 0)))
    .join("  ");
}

function cells({ kind, storedAt, sizeBytes, reason, key }: FoundGarbage, nowMs: number): string[] {
  return [
    kind,
    storedAt === undefined ? "-" : formatAge(nowMs - Date.parse(storedAt)),
    formatBytes(sizeBytes),
    reason ?? ONLY_OWNER,
    key,
  ];
}

function told({ garbage, owners, shards, uploadsListed }: GarbageSummary, config: Config): string {
  const lines = [`${formatCount(garbage.count)} objects, ${formatBytes(garbage.bytes)}, can go`];
  if (owners.count > 0)
    lines.push(`${formatCount(owners.count)} more, ${formatBytes(owners.bytes)}, may yet be named: ${ONLY_OWNER}`);
  for (const { shard, owner, epoch } of shards) {
    if (owner !== "")
      lines.push(
        `shard ${shard} belongs to ${owner} since epoch ${epoch}; if it runs, it deletes by itself (system.gc), ` +
          `${formatDuration(config.gc.graceMs)} after it saw that nobody needs a thing`,
      );
  }
  if (!uploadsListed) lines.push("the store does not tell of open uploads; a lifecycle rule of the bucket ends them");
  return lines.join("\n");
}

async function collect(
  { output, interruption }: CommandContext,
  engine: EngineApi,
  config: Config,
  signal: AbortSignal,
): Promise<number> {
  const collected = await engine.collectGarbage({ signal, onProgress: (progress) => output.progress(line(progress)) });
  if (output.json) await output.writeJson(collected);
  else await output.writeLine(result(collected));
  tellLeft(output, collected, config);
  if (collected.interrupted) return interruption.exitCode ?? EXIT_GARBAGE_LEFT;
  return collected.refused > 0 || collected.problems.length > 0 ? EXIT_GARBAGE_LEFT : EXIT_OK;
}

function line({ doing, waitsMs, waiting, waitingBytes }: GarbageProgress): string {
  const what = `${formatCount(waiting)} objects, ${formatBytes(waitingBytes)}, and index files`;
  if (doing === "waiting") return `deleting in ${formatAge(waitsMs)} (system.gc.grace): ${what}; Ctrl-C loses nothing`;
  return doing === "deleting"
    ? `deleting ${what}`
    : doing === "looking"
      ? "looking for what can go"
      : "taking the shards over";
}

function result({ deleted }: CollectedGarbage): string {
  const { linksDeleted, checkpointsDeleted, objectsDeleted, uploadsAborted, othersDeleted, bytesDeleted } = deleted;
  const parts = [
    [linksDeleted, "index files"],
    [checkpointsDeleted, "checkpoints"],
    [objectsDeleted, "data objects"],
    [othersDeleted, "old catalogs and probe results"],
    [uploadsAborted, "open uploads"],
  ] as const;
  const named = parts.filter(([count]) => count > 0).map(([count, name]) => `${formatCount(count)} ${name}`);
  return named.length === 0 ? "nothing was deleted" : `deleted ${named.join(", ")}: ${formatBytes(bytesDeleted)}`;
}

function tellLeft(output: Output, collected: CollectedGarbage, config: Config): void {
  const { interrupted, waiting, waitingBytes, waitingBoundaries, refused, problems } = collected;
  if (interrupted)
    output.message(
      `interrupted: ${formatCount(waiting)} objects (${formatBytes(waitingBytes)}) and the index files of ${formatCount(waitingBoundaries)} shards ` +
        `are left. Nothing is lost; the next run waits ${formatDuration(config.gc.graceMs)} anew`,
      { waiting, waitingBytes, waitingBoundaries },
    );
  for (const problem of problems) output.message(`warning: ${problem}`, { refused });
}

function formatAge(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return seconds % 60 === 0 || minutes >= 10 ? `${minutes}m` : `${minutes}m${seconds % 60}s`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 === 0 ? `${hours}h` : `${hours}h${minutes % 60}m`;
  return `${Math.floor(hours / 24)}d`;
}
