import { addRequests, countRequests } from "../../bench/request-counts.ts";
import type { Config } from "../../config/config.ts";
import type { Engine as EngineClass } from "../../engine/engine.ts";
import { AbortedError, InvalidArgumentError, TierlogError } from "../../errors.ts";
import type { ObjectStore } from "../../object-store/object-store.ts";
import { seededRandom } from "../../runtime/random.ts";
import type { ParsedArguments } from "../arguments.ts";
import type { Command } from "../command.ts";
import { resolveContextConfig, type CommandContext, type ConfigSource } from "../context.ts";
import { formatDemoReport, type DemoReport } from "../demo/demo-report.ts";
import { generateEvents } from "../demo/generated-events.ts";
import { sameDigests } from "../demo/partition-hash.ts";
import { readDemo, type ReadResult } from "../demo/read-demo.ts";
import { readInChild } from "../demo/read-in-child.ts";
import { writeDemo, type WriteResult } from "../demo/write-demo.ts";
import { tellJournaled } from "../engine-session.ts";
import { EXIT_OK } from "../exit-code.ts";
import { countObjects, freshPlace, type FreshPlace } from "../fresh-place.ts";
import { readInput } from "../input.ts";
import { LineBatches, type LineBatch } from "../line-batches.ts";
import { formatCount } from "../numbers.ts";

const TOPIC = "demo";
const RECORDS = 200_000;
const PARTITIONS = 16;
const BATCH_LINES = 200;

export const demo: Command = {
  name: "demo",
  usage: "[--input FILE…] [--records N] [--partitions N] [--keep] [flags]",
  summary: "write records, read them back in another process, compare, show numbers",
  details:
    "Appends generated JSON events, or the lines of your files, and waits until every one is acknowledged. Then a second " +
    "process with empty caches opens the same store read-only (with --kind memory: a second engine in this process), reads " +
    "everything back, and the hashes of both sides are compared per partition. It works in a fresh corner of the configured " +
    "store and removes it at the end.",
  flags: [
    {
      name: "input",
      value: "FILE",
      multiple: true,
      help: "append the lines of this file; more may follow; - is stdin",
    },
    { name: "records", value: "N", help: `how many events to generate (default: ${formatCount(RECORDS)})` },
    { name: "partitions", value: "N", help: `number of partitions (default: ${PARTITIONS})` },
    { name: "compression", value: "CODEC", help: "none or lz4 (default: none)" },
    { name: "kind", value: "KIND", help: "memory, fs or object: short for --set system.storage.kind=KIND" },
    { name: "keep", help: "leave what was written in the store, and say where" },
  ],
  positionals: [],
  rest: true,
  examples: [
    "tierlog demo",
    "tierlog demo --input /var/log/syslog --compression lz4",
    "tierlog demo --config config.toml --kind object --records 1000000 --json",
  ],

  async run(context, args) {
    const plan = parsePlan(args);
    // Asked for before anything is made: from here on Ctrl-C goes through the clean-up.
    const { interruption } = context;
    throwIfInterrupted(interruption.signal);
    const kindFlags = plan.kind === undefined ? {} : { "system.storage.kind": plan.kind };
    const base = await resolveContextConfig(context, kindFlags);
    const id = `demo-${Buffer.from(context.runtime.random.bytes(6)).toString("hex")}`;
    const place = await freshPlace(base.config, id);
    const { configSource } = context;
    const source = { ...configSource, flags: { ...configSource.flags, ...kindFlags, ...place.flags } };
    const { config } = await resolveContextConfig({ env: context.env, configSource: source });

    const { Engine } = await import("../../engine/engine.ts");
    const { openStore } = await import("../../engine/open-store.ts");
    const { metered } = await import("../../object-store/metered.ts");
    const counted = metered(await openStore(config, context.runtime, false), context.runtime.clock);
    const { store } = counted;
    try {
      const report = await new Demo({ context, plan, config, source, store, Engine }).run();
      await tell(context, report, place);
      if (!report.verified) throw new DemoMismatchError();
      return EXIT_OK;
    } catch (error) {
      // Stopped by Ctrl-C: the exit code says so, there is nothing to explain.
      if (interruption.exitCode === undefined) throw error;
      return interruption.exitCode;
    } finally {
      const answered = Object.values(counted.metrics()).some(({ requests, errors }) => requests > errors);
      await cleanUp(context, args, place, store, answered);
    }
  },
};

/** What came back is not what was acknowledged. */
class DemoMismatchError extends TierlogError {
  readonly kind = "data";
  readonly code = "TIERLOG_DEMO_MISMATCH";

  constructor() {
    super("the records read back differ from those acknowledged: please report this, with the output above");
  }
}

/** The second process sees only what is in the store: a comparison would call slow what is not wrong. */
class DemoUnfinishedError extends TierlogError {
  readonly kind = "unavailable";
  readonly code = "TIERLOG_DEMO_UNFINISHED";

  constructor() {
    super(
      "not everything that was acknowledged came into the store within system.shutdown_timeout: nothing was compared",
    );
  }
}

interface Plan {
  readonly inputs: readonly string[];
  readonly records: number;
  readonly partitions: number;
  readonly compression: "none" | "lz4";
  readonly kind: string | undefined;
}

function parsePlan(args: ParsedArguments): Plan {
  const inputs = [...args.texts("input"), ...args.positionals];
  if (args.positionals.length > 0 && !args.has("input")) {
    throw new InvalidArgumentError(
      args.positional(0),
      undefined,
      `unknown argument; for a file: --input ${args.positional(0)}`,
    );
  }
  if (inputs.length > 0 && args.has("records")) {
    throw new InvalidArgumentError(
      "--records",
      args.text("records"),
      "counts generated events; --input takes all lines",
    );
  }
  return {
    inputs,
    records: args.integer("records", 1, Number.MAX_SAFE_INTEGER) ?? RECORDS,
    partitions: args.integer("partitions", 1, 100_000) ?? PARTITIONS,
    compression: args.choice("compression", ["none", "lz4"]) ?? "none",
    kind: args.text("kind"),
  };
}

interface DemoOptions {
  readonly context: CommandContext;
  readonly plan: Plan;
  readonly config: Config;
  readonly source: ConfigSource;
  readonly store: ObjectStore;
  readonly Engine: typeof EngineClass;
}

class Demo {
  readonly #options: DemoOptions;

  constructor(options: DemoOptions) {
    this.#options = options;
  }

  async run(): Promise<DemoReport> {
    const { config, plan, store, context } = this.#options;
    const { written, bytesStored, requests, probeRequests } = await this.#write();
    context.output.progress("reading back …");
    const read = await this.#read();
    return {
      kind: config.storage.kind,
      records: written.records,
      partitions: plan.partitions,
      bytesIn: written.bytesIn,
      bytesStored,
      seconds: Math.round(written.seconds * 1000) / 1000,
      recordsPerSecond: Math.round(written.records / Math.max(written.seconds, 0.001)),
      ackMs: written.ackMs,
      requests: addRequests(requests, read.requests),
      ...(config.storage.kind === "object" ? { probeRequests } : {}),
      objects: await countObjects(store),
      verified: sameDigests(written.partitions, read.partitions),
    };
  }

  async #write(): Promise<{
    written: WriteResult;
    bytesStored: number;
    requests: DemoReport["requests"];
    probeRequests: number;
  }> {
    const { context, plan, config, store, Engine } = this.#options;
    const { runtime, output } = context;
    const engine = await Engine.open(config, { runtime, objectStore: store });
    let written: WriteResult;
    try {
      await engine.createTopic(TOPIC, { partitions: plan.partitions, compression: plan.compression });
      written = await writeDemo({
        topic: await engine.topic(TOPIC),
        batches: plan.inputs.length === 0 ? this.#generated() : this.#lines(),
        clock: runtime.clock,
        // One flush on its way and one that gathers: more would only make the acks later.
        maxPendingBytes: Math.min(config.flush.maxPendingBytes / 2, 2 * config.flush.maxBytes),
        onAck: (records) => output.progress(`${formatCount(records)} records acknowledged`),
      });
    } catch (error) {
      await engine.close().catch(() => undefined);
      throw error;
    }
    const report = await engine.close();
    tellJournaled(output, report);
    if (report.journaled.length > 0) throw new DemoUnfinishedError();
    const { storedBytes, store: metrics, probeRequests } = engine.metrics();
    return { written, bytesStored: storedBytes, requests: countRequests(metrics), probeRequests };
  }

  async #read(): Promise<ReadResult> {
    const { context, config, source, store, Engine } = this.#options;
    if (config.storage.kind !== "memory") {
      return readInChild({ source, topic: TOPIC }, context.interruption.signal);
    }
    const engine = await Engine.open(config, { readOnly: true, runtime: context.runtime, objectStore: store });
    try {
      return await readDemo(engine, TOPIC);
    } finally {
      await engine.close();
    }
  }

  *#generated(): Generator<LineBatch> {
    const { plan, context } = this.#options;
    const { clock } = context.runtime;
    const { signal } = context.interruption;
    for (const batch of generateEvents(seededRandom(1), clock.now(), plan.records, BATCH_LINES)) {
      throwIfInterrupted(signal);
      yield batch;
    }
  }

  async *#lines(): AsyncGenerator<LineBatch> {
    const { plan, context, config } = this.#options;
    const { signal } = context.interruption;
    for (const input of plan.inputs) {
      const batches = new LineBatches({
        chunks: readInput(input, context.stdin),
        clock: context.runtime.clock,
        ended: signal,
        batchLines: BATCH_LINES,
        batchBytesMax: config.batch.maxBytes,
        pauseMs: config.flush.lingerMs,
      });
      yield* batches.read();
      throwIfInterrupted(signal);
    }
  }
}

function throwIfInterrupted(signal: AbortSignal): void {
  if (signal.aborted) throw new AbortedError("demo", { cause: signal.reason });
}

async function tell(context: CommandContext, report: DemoReport, place: FreshPlace): Promise<void> {
  const reader = report.kind === "memory" ? "a second engine" : "a second process";
  if (context.output.json) await context.output.writeJson(report);
  else await context.output.writeLine(formatDemoReport(report, place.name, reader));
}

/** `answered`: the store answered at least one request. An engine reads before it writes, so without that nothing is there. */
async function cleanUp(
  context: CommandContext,
  args: ParsedArguments,
  place: FreshPlace,
  store: ObjectStore,
  answered: boolean,
): Promise<void> {
  try {
    if (!args.has("keep")) await place.remove(store);
    else if (answered) context.output.message(`kept: ${place.name}`, { kept: place.name });
  } catch (error) {
    // The result stands; whoever pays for the store must still hear of it. But not that there is no bucket, once more.
    if (answered) {
      const problem = error instanceof Error ? error.message : String(error);
      context.output.message(`not everything could be removed from ${place.name}: ${problem}`, { left: place.name });
    }
  } finally {
    await store.close();
  }
}
