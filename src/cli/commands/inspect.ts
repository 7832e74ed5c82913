import type { PartitionInspection } from "../../engine/api.ts";
import { isTierlogError } from "../../errors.ts";
import type { Command } from "../command.ts";
import { withEngine } from "../engine-session.ts";
import { EXIT_OK } from "../exit-code.ts";
import { readLag, type JournalLag } from "../journal/read-journals.ts";
import { formatBytes, formatCount } from "../numbers.ts";
import { formatTable } from "../table.ts";

export const inspect: Command = {
  name: "inspect",
  usage: "TOPIC [flags]",
  summary: "show what is stored of a topic",
  details:
    "Shows per partition: the shard; its first offset; UPLOADED, DURABLE and END, each one after the last record that is in the " +
    "store, acknowledged, appended; in how many extents, bytes and objects they lie. Of the shard, and so the same in each of " +
    "its rows: the live links of its index chain, the epoch of its last writer, and who owns it (- where that one has given it " +
    "up). Below that, what a journal on this machine holds that is not in the store yet. Opens read-only: a running producer is not " +
    "disturbed.",
  flags: [{ name: "partition", value: "N", help: "only this partition" }],
  positionals: ["TOPIC"],
  examples: ["tierlog inspect events", "tierlog inspect events --json | jq '.partitions[].watermarks'"],

  run: (context, args) =>
    withEngine(context, { readOnly: true }, async (engine, config) => {
      const topic = await engine.topic(args.positional(0));
      const only = args.integer("partition", 0, Number.MAX_SAFE_INTEGER);
      const count = topic.description.partitions;
      const numbers = only === undefined ? Array.from({ length: count }, (_, i) => i) : [only];
      const partitions: PartitionInspection[] = [];
      for (const number of numbers) partitions.push(await topic.partition(number).inspect());

      const shards = new Set(partitions.map(({ shard }) => shard));
      const lag = await readLag(config, context.runtime, engine.storeId, shards).catch((error: unknown) => {
        if (!isTierlogError(error)) throw error;
        // Another user's journal must not hide what is in the store.
        context.output.message(`warning: ${error.message}`);
        return [];
      });
      if (context.output.json) {
        const { name, id, compression } = topic.description;
        await context.output.writeJson({ topic: name, id, compression, partitions, journal: lag });
      } else {
        await context.output.writeLine(formatTable(HEADER, partitions.map(row)));
        if (lag.length > 0) await context.output.writeLine(`\n${lag.map(lagLine).join("\n")}`);
      }
      return EXIT_OK;
    }),
};

const HEADER = [
  "PARTITION",
  "SHARD",
  "START",
  "UPLOADED",
  "DURABLE",
  "END",
  "EXTENTS",
  "BYTES",
  "OBJECTS",
  "LINKS",
  "EPOCH",
  "OWNER",
];

function lagLine({ shard, records, bytes, ms }: JournalLag): string {
  if (records === null || bytes === null || ms === null) {
    return `shard ${shard}: the journal on this machine cannot be opened; see tierlog journal inspect`;
  }
  return (
    `shard ${shard}: ${formatCount(records)} records, ${formatBytes(bytes)} in the journal on this machine are not in the store yet, ` +
    `the oldest for ${(ms / 1000).toFixed(1)} s`
  );
}

function row(partition: PartitionInspection): string[] {
  const { start, uploaded, durable, end } = partition.watermarks;
  return [
    String(partition.partition),
    String(partition.shard),
    ...[start, uploaded, durable, end, partition.extents].map(formatCount),
    formatBytes(partition.bytes),
    ...[partition.objects, partition.links, partition.epoch].map(formatCount),
    partition.owner === "" ? "-" : partition.owner,
  ];
}
