import type { PartitionApi, TopicApi } from "../../engine/api.ts";
import { InvalidArgumentError } from "../../errors.ts";
import type { StoredRecord } from "../../record/record.ts";
import { sleep } from "../../runtime/clock.ts";
import type { ParsedArguments } from "../arguments.ts";
import type { Command } from "../command.ts";
import type { CommandContext } from "../context.ts";
import { withEngine } from "../engine-session.ts";
import { EXIT_OK } from "../exit-code.ts";
import type { Output } from "../output.ts";
import { PartitionRounds } from "../partition-rounds.ts";
import { recordJson } from "../record-json.ts";
import { parseStartPosition, type StartPosition } from "../start-position.ts";

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
    "is seen when it is uploaded. Ctrl-C ends --follow with exit code 0.\n" +
    "--from takes a date (2026-11-20, midnight UTC), a time with its zone (2026-11-20T10:00:00Z, 2026-11-20T12:00:00+02:00) or a " +
    "time ago (-90s, -15m, -2h, -7d). Each partition begins at its first record that is that late by its timestamp, which the " +
    "producer sets: earlier ones may follow. Where no record is, it begins at the end.",
  flags: [
    { name: "partition", value: "N", help: "only this partition (default: all)" },
    {
      name: "from",
      value: "WHERE",
      help: "earliest, latest, a time, a time ago (-15m) or, with --partition, an offset (default: earliest)",
    },
    { name: "max", value: "N", help: "end after this many records" },
    { name: "follow", help: "wait for new records instead of ending" },
  ],
  positionals: ["TOPIC"],
  examples: [
    "tierlog consume events --from latest --follow",
    "tierlog consume events --from -15m --follow",
    "tierlog consume events --from 2026-11-20T10:00:00Z --json",
    "tierlog consume events --partition 3 --from 1000 --max 10 --json",
  ],

  run(context, args) {
    const from = parseFrom(args, context.runtime.clock.now());
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

function parseFrom(args: ParsedArguments, nowMs: number): StartPosition {
  const text = args.text("from") ?? "earliest";
  const from = parseStartPosition("--from", text, nowMs);
  if (typeof from === "object" && "offset" in from && !args.has("partition")) {
    throw new InvalidArgumentError("--from", text, "an offset needs --partition: each partition counts its own");
  }
  return from;
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
  readonly from: StartPosition;
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

async function startAt(
  partition: PartitionApi,
  from: StartPosition,
): Promise<{ partition: PartitionApi; offset: number }> {
  if (from === "earliest" || from === "latest") return { partition, ...(await partition.offsetAt(from)) };
  if ("offset" in from) return { partition, offset: from.offset };
  // The end as it was before the search: what comes while it runs is not passed over.
  const { offset: end } = await partition.offsetAt("latest");
  const found = await partition.offsetAt(from.timestampMs);
  return { partition, offset: found?.offset ?? end };
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
