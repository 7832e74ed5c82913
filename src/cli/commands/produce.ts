import type { AckLevel, AppendReceipt } from "../../domain.ts";
import type { AppendOptions, TopicApi } from "../../engine/api.ts";
import { InvalidArgumentError } from "../../errors.ts";
import type { LogRecord } from "../../record/record.ts";
import { AppendWindow } from "../append-window.ts";
import type { ParsedArguments } from "../arguments.ts";
import type { Command } from "../command.ts";
import type { CommandContext } from "../context.ts";
import { withEngine } from "../engine-session.ts";
import { EXIT_OK } from "../exit-code.ts";
import { readInput } from "../input.ts";
import { LineBatches } from "../line-batches.ts";
import { formatCount } from "../numbers.ts";

const ACK_LEVELS = ["buffered", "journaled", "uploaded"] as const satisfies readonly AckLevel[];
const BATCH_LINES = 500;
const APPENDS_IN_FLIGHT = 256;
/** Input that is late by less is still flowing: with a shorter linger, appends would be cut at the chunks of a pipe. */
const PAUSE_MS_MIN = 20;

export const produce: Command = {
  name: "produce",
  usage: "TOPIC [flags]",
  summary: "append lines to a topic",
  details:
    "Appends one record per line of stdin, or of a file. Only the line feed is left out: a carriage return is kept, bytes need " +
    "not be text. Ends when everything is acknowledged, and sent to the store as far as system.shutdown_timeout allows. Without --partition, records with a key go where Kafka's clients would " +
    "put them, records without one to each partition in turn. Ctrl-C stops reading, waits for the acks of what was sent, and " +
    "exits with 130.",
  flags: [
    { name: "file", value: "FILE", help: "read this file instead of stdin" },
    { name: "partition", value: "N", help: "append everything to this partition" },
    {
      name: "key-separator",
      value: "TEXT",
      help: "what stands before its first occurrence is the key, what follows the value; \\t is a tab",
    },
    {
      name: "ack",
      value: "LEVEL",
      help:
        "buffered: when it is in memory, and may be lost; journaled: when it is in the journal, needs ack_after_upload = false; " +
        "uploaded: when it is in the store (default: as the topic says, else ack_after_upload)",
    },
    {
      name: "batch-lines",
      value: "N",
      help: `lines per append (default: ${BATCH_LINES}); fewer where they would not fit system.batch.max_bytes, or when the input pauses`,
    },
    {
      name: "print-acks",
      help: "write {partition, firstOffset, nextOffset, level, epoch} to stdout the moment each append is acknowledged",
    },
  ],
  positionals: ["TOPIC"],
  examples: [
    "tierlog produce events < events.jsonl",
    "tail -F app.log | tierlog produce logs --batch-lines 1 --print-acks",
    "tierlog produce payments --ack uploaded < payments.jsonl",
    "tierlog produce users --key-separator : --file users.txt",
  ],

  run(context, args) {
    const batchLines = args.integer("batch-lines", 1, 1_000_000) ?? BATCH_LINES;
    const partition = args.integer("partition", 0, Number.MAX_SAFE_INTEGER);
    const keySeparator = parseSeparator(args);
    const ack = args.choice("ack", ACK_LEVELS);
    const options = ack === undefined ? {} : { ack };
    return withEngine(context, { readOnly: false }, async (engine, config) => {
      const topic = await engine.topic(args.positional(0));
      if (partition !== undefined) topic.partition(partition);
      const batches = new LineBatches({
        chunks: readInput(args.text("file") ?? "-", context.stdin),
        clock: context.runtime.clock,
        ended: AbortSignal.any([context.interruption.signal, context.output.stdoutGone]),
        batchLines,
        batchBytesMax: config.batch.maxBytes,
        pauseMs: Math.max(config.flush.lingerMs, PAUSE_MS_MIN),
      });
      const window = new AppendWindow({
        maxBytes: config.flush.maxPendingBytes / 2,
        maxAppends: APPENDS_IN_FLIGHT,
      });
      return new Production({ context, args, topic, partition, keySeparator, options, batches, window }).run();
    });
  },
};

interface ProductionOptions {
  readonly context: CommandContext;
  readonly args: ParsedArguments;
  readonly topic: TopicApi;
  readonly partition: number | undefined;
  readonly keySeparator: Buffer | undefined;
  readonly options: AppendOptions;
  readonly batches: LineBatches;
  readonly window: AppendWindow;
}

class Production {
  readonly #options: ProductionOptions;
  #lines = 0;
  #acknowledged = 0;
  #bytes = 0;

  constructor(options: ProductionOptions) {
    this.#options = options;
  }

  async run(): Promise<number> {
    const { batches, window, context } = this.#options;
    let failure: { readonly error: unknown } | undefined;
    try {
      for await (const { lines, bytes } of batches.read()) {
        await window.room();
        window.add(bytes, this.#append(lines));
      }
    } catch (error) {
      failure = { error };
    }
    try {
      await window.drain();
    } catch (error) {
      failure ??= { error };
    }
    if (failure !== undefined) {
      this.#report("before the error");
      throw failure.error;
    }
    const { exitCode } = context.interruption;
    if (exitCode !== undefined) this.#report("before the interruption");
    else await this.#summarize();
    return exitCode ?? EXIT_OK;
  }

  async #append(lines: readonly Uint8Array[]): Promise<void> {
    const { topic, partition, options, context, args } = this.#options;
    const records = lines.map((line) => this.#record(line));
    const receipts: readonly AppendReceipt[] =
      partition === undefined
        ? await topic.append(records, options)
        : [await topic.partition(partition).append(records, options)];
    this.#acknowledged += records.length;
    for (const line of lines) this.#bytes += line.length;
    context.output.progress(`${formatCount(this.#acknowledged)} records acknowledged`);
    if (args.has("print-acks")) await context.output.write(receipts.map(ackLine).join(""));
  }

  #record(line: Uint8Array): LogRecord {
    this.#lines++;
    const { keySeparator } = this.#options;
    if (keySeparator === undefined) return { value: line };
    const at = Buffer.from(line.buffer, line.byteOffset, line.length).indexOf(keySeparator);
    if (at === -1) {
      throw new InvalidArgumentError(
        "--key-separator",
        keySeparator.toString(),
        `line ${this.#lines} holds no ${JSON.stringify(keySeparator.toString())}`,
      );
    }
    return { key: line.subarray(0, at), value: line.subarray(at + keySeparator.length) };
  }

  #report(when: string): void {
    this.#options.context.output.message(`${formatCount(this.#acknowledged)} records were acknowledged ${when}`, {
      acknowledged: this.#acknowledged,
    });
  }

  async #summarize(): Promise<void> {
    const { context, args, topic } = this.#options;
    const { output } = context;
    if (output.json && !args.has("print-acks")) {
      await output.writeJson({ topic: topic.description.name, records: this.#acknowledged, bytes: this.#bytes });
    } else if (output.isTerminal) {
      output.message(`${formatCount(this.#acknowledged)} records are acknowledged`);
    }
  }
}

function ackLine({ partition, firstOffset, nextOffset, level, epoch }: AppendReceipt): string {
  return `${JSON.stringify({ partition, firstOffset, nextOffset, level, epoch })}\n`;
}

function parseSeparator(args: ParsedArguments): Buffer | undefined {
  const text = args.text("key-separator");
  if (text === "") throw new InvalidArgumentError("--key-separator", text, "is empty");
  return text === undefined ? undefined : Buffer.from(text === "\\t" ? "\t" : text);
}
