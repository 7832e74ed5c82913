import type { PartitionApi, TopicApi } from "../../engine/api.ts";
import { InvalidArgumentError } from "../../errors.ts";
import type { StoredRecord } from "../../record/record.ts";
import { sleep } from "../../runtime/clock.ts";
import { parseInteger, type ParsedArguments } from "../arguments.ts";
import type { Command } from "../command.ts";
import type { CommandContext } from "../context.ts";
import { withEngine } from "../engine-session.ts";
import { EXIT_OK } from "../exit-code.ts";
import type { Output } from "../output.ts";
import { PartitionRounds } from "../partition-rounds.ts";
import { recordJson } from "../record-json.ts";

/** How often a follower asks each shard for news: one GET each time. */
const POLL_MS = 250;

export const consume: Command = {
  name: "consume",
  usage: "TOPIC [flags]",
  summary: "write the records of a topic to stdout",
  details:
    "Writes one value per line, byte for byte. Without --follow it ends at the end of the log as it is found. Records of one " +
    "partition come in order; those of several are mixed. With --json: an object per record, with value (text) or valueBase64 " +
    "(anything else), and key likewise. Opens read-only: a running producer is not disturbed, and what it has only in its journal " +
    "is seen when it is uploaded. Ctrl-C ends --follow with exit " +
    "code 0.",
  flags: [
    { name: "partition", value: "N", help: "only this partition (default: all)" },
    {
      name: "from",
      value: "WHERE",
      help: "earliest, latest or, with --partition, an offset (default: earliest)",
    },
    { name: "max", value: "N", help: "end after this many records" },
    { name: "follow", help: "wait for new records instead of ending" },
  ],
  positionals: ["TOPIC"],
  examples: [
    "tierlog consume events --from latest --follow",
    "tierlog consume events --partition 3 --from 1000 --max 10 --json",
  ],

  run(context, args) {
    const from = parseFrom(args);
    const max = args.integer("max", 0, Number.MAX_SAFE_INTEGER) ?? Number.POSITIVE_INFINITY;
    return withEngine(context, { readOnly: true }, async (engine) => {
      const topic = await engine.topic(args.positional(0));
      const partitions = choosePartitions(topic, args);
      await copyRecords({ context, topic, partitions, from, max, follow: args.has("follow") });
      // To be stopped is how --follow ends; anything else was cut short.
      return args.has("follow") ? EXIT_OK : (context.interruption.exitCode ?? EXIT_OK);
    });
  },
};

type From = "earliest" | "latest" | number;

function parseFrom(args: ParsedArguments): From {
  const text = args.text("from") ?? "earliest";
  if (text === "earliest" || text === "latest") return text;
  if (!/^\d+$/.test(text)) {
    throw new InvalidArgumentError("--from", text, `"${text}" is neither earliest, latest nor an offset`);
  }
  const offset = parseInteger("--from", text, 0, Number.MAX_SAFE_INTEGER);
  if (!args.has("partition")) {
    throw new InvalidArgumentError("--from", text, "an offset needs --partition: each partition counts its own");
  }
  return offset;
}

function choosePartitions(topic: TopicApi, args: ParsedArguments): PartitionApi[] {
  const only = args.integer("partition", 0, Number.MAX_SAFE_INTEGER);
  if (only !== undefined) return [topic.partition(only)];
  return Array.from({ length: topic.description.partitions }, (_, number) => topic.partition(number));
}

interface Copy {
  readonly context: CommandContext;
  readonly topic: TopicApi;
  readonly partitions: readonly PartitionApi[];
  readonly from: From;
  readonly max: number;
  readonly follow: boolean;
}

async function copyRecords({ context, topic, partitions, from, max, follow }: Copy): Promise<void> {
  const { output, runtime } = context;
  const ended = AbortSignal.any([context.interruption.signal, output.stdoutGone]);
  const rounds = new PartitionRounds(await Promise.all(partitions.map((partition) => startAt(partition, from))));
  const chain = new ChainWatch(topic, partitions);
  let left = max;
  while (left > 0 && !ended.aborted) {
    if (follow) await chain.look();
    for await (const { partition, records } of rounds.run()) {
      const taken = left < records.length ? records.slice(0, left) : records;
      left -= taken.length;
      await output.write(encode(output, partition, taken));
      if (left === 0 || ended.aborted) return;
    }
    if (!follow) return;
    while (!ended.aborted && !(await chain.hasNews())) {
      // Rejects only when `ended` fires, which the loop sees.
      await sleep(runtime.clock, POLL_MS, ended).catch(() => undefined);
    }
  }
}

async function startAt(partition: PartitionApi, from: From): Promise<{ partition: PartitionApi; offset: number }> {
  if (typeof from === "number") return { partition, offset: from };
  const { start, uploaded } = await partition.watermarks();
  return { partition, offset: from === "earliest" ? start : uploaded };
}

/** Tells whether anything was committed, with one request per shard instead of one per partition. */
class ChainWatch {
  /** One partition of each shard. */
  readonly #sentinels: readonly PartitionApi[];
  #seen = "";

  constructor(topic: TopicApi, partitions: readonly PartitionApi[]) {
    const byShard = new Map(partitions.map((partition) => [topic.description.shards[partition.number], partition]));
    this.#sentinels = [...byShard.values()];
  }

  /** What comes after this is news. */
  async look(): Promise<void> {
    this.#seen = await this.#read();
  }

  async hasNews(): Promise<boolean> {
    return (await this.#read()) !== this.#seen;
  }

  async #read(): Promise<string> {
    const inspections = await Promise.all(this.#sentinels.map((partition) => partition.inspect()));
    return inspections.map(({ nextSeq }) => nextSeq).join(" ");
  }
}

const LINE_FEED = Buffer.from("\n");

function encode(output: Output, partition: number, records: readonly StoredRecord[]): Uint8Array | string {
  if (output.json) return records.map((record) => `${JSON.stringify(recordJson(partition, record))}\n`).join("");
  return Buffer.concat(records.flatMap(({ value }) => (value === null ? [LINE_FEED] : [value, LINE_FEED])));
}
