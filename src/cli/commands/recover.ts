import type { RecoveryReport } from "../../engine/reports.ts";
import type { Command } from "../command.ts";
import { withEngine } from "../engine-session.ts";
import { EXIT_OK, EXIT_RECORDS_LEFT_OUT } from "../exit-code.ts";
import { formatBytes, formatCount } from "../numbers.ts";
import { formatRanges, formatTornTail } from "../partition-ranges.ts";
import { formatTable } from "../table.ts";

export const recover: Command = {
  name: "recover",
  usage: "[flags]",
  summary: "bring what the journal holds to the store",
  details:
    "Takes over every shard that has a journal below system.journal.path, sends what was acknowledged from it and is not in the store " +
    "yet, and gives the shards up. An engine does the same when it starts: this is for a machine that shall not go on, and for looking " +
    "at what happened. FRAMES, RECORDS and BYTES are what was sent, SET ASIDE are records. Needs the journal for itself: no other process may use it. May be interrupted and given again. Ends with 65 where " +
    "records stayed out of the log: frames set aside because another writer came between, or a journal that is gone.",
  flags: [],
  positionals: [],
  examples: ["tierlog recover --config config.toml", "tierlog recover --json | jq '.shards[].outcome'"],

  run: (context) =>
    withEngine(context, { readOnly: false }, async (engine, config) => {
      const { output } = context;
      const reports = await engine.recover(({ shard, framesLeft, bytesLeft, recordsUploaded }) =>
        output.progress(
          `shard ${shard}: ${formatCount(framesLeft)} frames, ${formatBytes(bytesLeft)} left; ` +
            `${formatCount(recordsUploaded)} records are in the store`,
        ),
      );
      if (output.json) await output.writeJson({ shards: reports });
      else if (reports.length > 0) await output.writeLine(formatReports(reports));
      else if (output.isTerminal) output.message(`there is no journal in ${config.journal.path}: nothing to do`);
      const leftOut = reports.some(({ outcome }) => outcome === "set-aside" || outcome === "disk-lost");
      return leftOut ? EXIT_RECORDS_LEFT_OUT : EXIT_OK;
    }),
};

function formatReports(reports: readonly RecoveryReport[]): string {
  const rows = reports.map(({ shard, outcome, replayed, setAside }) => [
    String(shard),
    outcome,
    formatCount(replayed.frames),
    formatCount(replayed.records),
    formatBytes(replayed.bytes),
    formatCount(setAside?.records ?? 0),
  ]);
  const table = formatTable(["SHARD", "OUTCOME", "FRAMES", "RECORDS", "BYTES", "SET ASIDE"], rows);
  return [table, ...reports.flatMap(remarks)].join("\n\n");
}

/** What a person has to know of one shard, beside the numbers. */
function remarks({ shard, setAside, tornTail, mayBeLost, lastCommitAt }: RecoveryReport): string[] {
  const found: string[] = [];
  if (tornTail !== undefined) found.push(`shard ${shard}: ${formatTornTail(tornTail)}`);
  if (setAside?.file !== undefined) {
    found.push(
      `shard ${shard}: ${formatCount(setAside.records)} records (${formatBytes(setAside.bytes)}) are set aside in ${setAside.file}: ` +
        "another writer had taken the shard over, so they are not in the log. tierlog journal salvage --append appends them as new " +
        `records.\n${formatRanges(setAside.partitions)}`,
    );
  }
  if (mayBeLost !== undefined) {
    const rows = mayBeLost.map(({ topic, topicId, partition, firstOffset }) => [
      topic ?? topicId,
      String(partition),
      String(firstOffset),
    ]);
    const since = lastCommitAt === undefined ? "" : ` The last link before was made at ${lastCommitAt}.`;
    found.push(
      `shard ${shard}: its journal is gone. What was acknowledged from it and not in the store is lost: records at and behind these ` +
        `offsets, which new records get now.${since}\n${formatTable(["TOPIC", "PARTITION", "FIRST OFFSET"], rows)}`,
    );
  }
  return found;
}
