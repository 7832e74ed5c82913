import type { PartitionInspection } from "../../engine/api.ts";
import type { Command } from "../command.ts";
import { withEngine } from "../engine-session.ts";
import { EXIT_OK } from "../exit-code.ts";
import { formatBytes, formatCount } from "../numbers.ts";
import { formatTable } from "../table.ts";

export const inspect: Command = {
  name: "inspect",
  usage: "TOPIC [flags]",
  summary: "show what is stored of a topic",
  details:
    "Shows per partition: the shard; its first offset; UPLOADED, DURABLE and END, each one after the last record that is in the " +
    "store, acknowledged, appended; where the journal of the shard is at hand, what of it is not in the store yet, and for how long; in how many extents, bytes and objects they lie. Of the shard, and so the same in each of " +
    "its rows: the live links of its index chain, the epoch of its last writer, and who owns it (- where that one has given it " +
    "up). Opens read-only: a running producer is not disturbed.",
  flags: [{ name: "partition", value: "N", help: "only this partition" }],
  positionals: ["TOPIC"],
  examples: ["tierlog inspect events", "tierlog inspect events --json | jq '.partitions[].watermarks'"],

  run: (context, args) =>
    withEngine(context, { readOnly: true }, async (engine) => {
      const topic = await engine.topic(args.positional(0));
      const only = args.integer("partition", 0, Number.MAX_SAFE_INTEGER);
      const count = topic.description.partitions;
      const numbers = only === undefined ? Array.from({ length: count }, (_, i) => i) : [only];
      const partitions: PartitionInspection[] = [];
      for (const number of numbers) partitions.push(await topic.partition(number).inspect());

      if (context.output.json) {
        const { name, id, compression } = topic.description;
        await context.output.writeJson({ topic: name, id, compression, partitions });
      } else {
        const withLag = partitions.some(({ lag }) => lag !== undefined);
        const header = HEADER.toSpliced(LAG_AT, 0, ...(withLag ? LAG_HEADER : []));
        const rows = partitions.map((partition) =>
          row(partition).toSpliced(LAG_AT, 0, ...(withLag ? lagCells(partition) : [])),
        );
        await context.output.writeLine(formatTable(header, rows));
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

/** Behind END. */
const LAG_AT = HEADER.indexOf("END") + 1;
const LAG_HEADER = ["LAG", "LAG BYTES", "LAG TIME"];

function lagCells({ lag }: PartitionInspection): string[] {
  if (lag === undefined) return ["-", "-", "-"];
  return [formatCount(lag.records), formatBytes(lag.bytes), `${(lag.ms / 1000).toFixed(1)} s`];
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
