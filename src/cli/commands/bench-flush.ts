import type { FlushBenchPlan, FlushMeasurement } from "../../bench/flush-bench.ts";
import { sumRequests } from "../../bench/request-counts.ts";
import type { Config } from "../../config/config.ts";
import { parseSize, formatSize } from "../../config/size.ts";
import { AbortedError, asTierlogError, InvalidArgumentError } from "../../errors.ts";
import { describeMachine } from "../../runtime/machine.ts";
import type { ParsedArguments } from "../arguments.ts";
import { conditionsOf, formatBenchReport, type BenchReport } from "../bench/bench-report.ts";
import type { FreshStore } from "../bench/fresh-store.ts";
import type { Command } from "../command.ts";
import { resolveContextConfig, type CommandContext } from "../context.ts";
import { EXIT_GARBAGE_LEFT, EXIT_OK } from "../exit-code.ts";
import { freshPlace } from "../fresh-place.ts";
import { formatCount, formatLatency } from "../numbers.ts";

const SECONDS = 30;
const SECONDS_MAX = 3600;
const PRODUCERS = 256;
const PARTITIONS = 16;
const RECORD_SIZE = "1 KiB";
const ACKS = ["uploaded", "journaled", "buffered"] as const;

export const benchFlush: Command = {
  name: "bench flush",
  usage: "[--seconds N] [--producers N | --rate N] [flags]",
  summary: "measure how fast your store takes flushes, with your configuration",
  details:
    "Appends records with the configuration as it stands, and shows acks and bytes per second, latencies, requests, CPU, memory, and what " +
    "the figures depend on. Each producer sends its next record after its last ack (closed loop); with --rate records are sent at their " +
    "times whoever still waits (open loop), and latencies count from those times. The load generator runs in the same process. It writes " +
    'only below a fresh prefix of its own (bench- and twelve digits below system.storage.object.prefix; with kind = "fs" a directory ' +
    "below system.path), and into a journal of its own below system.journal.path; it removes both at the end, also after Ctrl-C. A second " +
    "Ctrl-C leaves at once and names the command that removes the rest. Refuses a bucket that does not let objects be deleted. Versions " +
    "that a bucket keeps are its own. Requests cost money: the last row says how many there were. Exit codes: 0 done; 75 not all could " +
    "be removed; 130, 143 interrupted, and removed.",
  flags: [
    { name: "seconds", value: "N", help: `how long to append, 1 … ${formatCount(SECONDS_MAX)} (default: ${SECONDS})` },
    { name: "producers", value: "N", help: `producers of the closed loop, 1 … 65,536 (default: ${PRODUCERS})` },
    { name: "rate", value: "N", help: "open loop: records per second, 1 … 10,000,000" },
    {
      name: "record-size",
      value: "SIZE",
      help: `bytes of each value, at most batch.max_bytes (default: "${RECORD_SIZE}")`,
    },
    { name: "partitions", value: "N", help: `partitions, written in turn, 1 … 100,000 (default: ${PARTITIONS})` },
    { name: "ack", value: "LEVEL", help: "uploaded, journaled or buffered (default: as ack_after_upload says)" },
    { name: "compression", value: "CODEC", help: "none or lz4 (default: none)" },
  ],
  positionals: [],
  examples: [
    "tierlog bench flush --config config.toml",
    "tierlog bench flush --config config.toml --rate 5000 --seconds 60",
    "tierlog bench flush --config config.toml --set system.flush.linger=50ms --json > bench.json",
  ],

  async run(context, args) {
    const { interruption, output } = context;
    // Asked for before anything is made: from here on Ctrl-C goes through the clean-up.
    const { signal } = interruption;
    const base = await resolveContextConfig(context);
    const plan = parsePlan(args, base.config);
    const id = `bench-${Buffer.from(context.runtime.random.bytes(6)).toString("hex")}`;
    const place = await freshPlace(base.config, id);
    const { configSource } = context;
    const source = { ...configSource, flags: { ...configSource.flags, ...place.flags } };
    const { config } = await resolveContextConfig({ env: context.env, configSource: source });
    const rest = `to remove the rest: ${removal(config, args)}`;

    const { FreshStore, NotDeletableError } = await import("../bench/fresh-store.ts");
    const fresh = await FreshStore.open(config, context.runtime, place);
    let outcome: Outcome | undefined;
    let removed = false;
    let mayDelete = true;
    try {
      interruption.onSecond(() => output.message(`left behind: ${place.name}; ${rest}`, { left: place.name }));
      await fresh.begin();
      outcome = await measure(context, config, plan);
    } catch (error) {
      mayDelete = !(error instanceof NotDeletableError);
      if (interruption.exitCode === undefined) throw error;
    } finally {
      output.progress("removing what was written …");
      if (mayDelete) removed = await removeAll(context, fresh, place.name, rest);
      await fresh.close();
    }
    if (interruption.exitCode !== undefined || outcome === undefined) return interruption.exitCode ?? EXIT_OK;
    const { measurement, requests, probeRequests } = outcome;
    const report: BenchReport = {
      place: place.name,
      plan: { ...plan, rate: plan.rate ?? null },
      ...measurement,
      requestsInAll: requests + probeRequests + fresh.requests,
      probeRequests,
      removed,
      conditions: conditionsOf(config, describeMachine()),
    };
    if (output.json) await output.writeJson(report);
    else await output.writeLine(formatBenchReport(report));
    return removed ? EXIT_OK : EXIT_GARBAGE_LEFT;

    function throwIfInterrupted(): void {
      if (signal.aborted) throw new AbortedError("bench flush", { cause: signal.reason });
    }

    async function measure({ runtime }: CommandContext, measured: Config, wanted: FlushBenchPlan): Promise<Outcome> {
      throwIfInterrupted();
      const { Engine } = await import("../../engine/engine.ts");
      const { benchFlush: bench } = await import("../../bench/flush-bench.ts");
      const { countRequests } = await import("../../bench/request-counts.ts");
      const engine = await Engine.open(measured, { runtime });
      try {
        throwIfInterrupted();
        const measurement = await bench(engine, {
          plan: wanted,
          shards: measured.shards,
          maxPendingBytes: measured.flush.maxPendingBytes,
          clock: runtime.clock,
          random: runtime.random,
          signal,
          onProgress: ({ elapsedSeconds, records, bytes, p50, p99, puts }) =>
            output.progress(
              `${elapsedSeconds.toFixed(0)} of ${wanted.seconds} s: ${formatCount(records / elapsedSeconds)} records/s, ` +
                `${(bytes / elapsedSeconds / 1e6).toFixed(1)} MB/s, p50 ${formatLatency(p50)}, p99 ${formatLatency(p99)}, ` +
                `${formatCount(puts)} PUTs`,
            ),
        });
        await engine.close();
        const { store, probeRequests } = engine.metrics();
        return { measurement, requests: sumRequests(countRequests(store)), probeRequests };
      } catch (error) {
        await engine.close().catch(() => undefined);
        throw error;
      }
    }
  },
};

interface Outcome {
  readonly measurement: FlushMeasurement;
  readonly requests: number;
  readonly probeRequests: number;
}

function parsePlan(args: ParsedArguments, config: Config): FlushBenchPlan {
  if (args.has("rate") && args.has("producers")) {
    throw new InvalidArgumentError(
      "--producers",
      args.text("producers"),
      "are those of the closed loop: with --rate records are sent at their times, whoever waits",
    );
  }
  const { ackAfterUpload } = config.storage.object;
  const ack = args.choice("ack", ACKS) ?? (ackAfterUpload ? "uploaded" : "journaled");
  if (ack === "journaled" && ackAfterUpload) {
    throw new InvalidArgumentError("--ack", ack, "needs a journal: --set system.storage.object.ack_after_upload=false");
  }
  return {
    seconds: args.integer("seconds", 1, SECONDS_MAX) ?? SECONDS,
    producers: args.integer("producers", 1, 65_536) ?? PRODUCERS,
    rate: args.integer("rate", 1, 10_000_000),
    partitions: args.integer("partitions", 1, 100_000) ?? PARTITIONS,
    recordBytes: parseRecordSize(args.text("record-size") ?? RECORD_SIZE, config),
    compression: args.choice("compression", ["none", "lz4"]) ?? "none",
    ack,
  };
}

function parseRecordSize(text: string, config: Config): number {
  const size = parseSize(text);
  if (!size.ok) throw new InvalidArgumentError("--record-size", text, `"${text}" ${size.problem}`);
  // Beside the value stand a few bytes of its own.
  const max = config.batch.maxBytes - 128;
  if (size.value < 1 || size.value > max) {
    throw new InvalidArgumentError(
      "--record-size",
      text,
      `"${text}" is not 1 B … ${formatSize(max)} (system.batch.max_bytes less what surrounds a value)`,
    );
  }
  return size.value;
}

/** What is left is told, and no reason to hide the result. */
async function removeAll({ output }: CommandContext, fresh: FreshStore, name: string, rest: string): Promise<boolean> {
  try {
    await fresh.remove();
    return true;
  } catch (error) {
    output.message(`not everything could be removed from ${name}: ${asTierlogError(error).message}; ${rest}`, {
      left: name,
    });
    return false;
  }
}

/** The command that removes what an interrupted run left. */
function removal({ path, storage, journal }: Config, args: ParsedArguments): string {
  const file = args.text("config");
  const flags = `${file === undefined ? "" : ` --config ${file}`}${args.has("set") ? " and the same --set" : ""}`;
  const own = storage.object.ackAfterUpload ? "" : `rm -r ${journal.path}`;
  switch (storage.kind) {
    case "memory":
      return own === "" ? "nothing is to be done" : own;
    case "fs":
      return `rm -r ${path}${own === "" ? "" : `; ${own}`}`;
    case "object":
      return `tierlog stores delete ${storage.object.prefix} --yes${flags}${own === "" ? "" : `; ${own}`}`;
  }
}
