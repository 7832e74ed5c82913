import { resolve } from "node:path";

import { billOf } from "../../bench/bill.ts";
import type { ForecastLoad } from "../../bench/flush-forecast.ts";
import { forecast } from "../../bench/forecast.ts";
import { parsePrices, PRICES, type PriceList } from "../../bench/prices.ts";
import type { Config } from "../../config/config.ts";
import { parseDuration } from "../../config/duration.ts";
import { fileProblem } from "../../config/file-problem.ts";
import type { Flags } from "../../config/flag-settings.ts";
import type { Parsed } from "../../config/quantity.ts";
import { parseSize } from "../../config/size.ts";
import { InvalidArgumentError } from "../../errors.ts";
import { readTextFile } from "../../runtime/text-file.ts";
import type { ParsedArguments } from "../arguments.ts";
import type { Command } from "../command.ts";
import { resolveContextConfig, type CommandContext } from "../context.ts";
import {
  datesOf,
  formatBills,
  formatForecast,
  formatSweep,
  putsPerPartition,
  requestRow,
  usageOf,
  type CostRow,
} from "../cost/cost-report.ts";
import { parseMeasured } from "../cost/measured.ts";
import { EXIT_OK } from "../exit-code.ts";
import { formatBytes, formatCount } from "../numbers.ts";
import { formatTable } from "../table.ts";

const FORECAST_FLAGS = [
  "bytes-per-second",
  "record-size",
  "partitions",
  "linger",
  "ack",
  "compressed-to",
  "latency",
  "retention",
  "readers",
];
const MIB = 1024 ** 2;
/** 1 TiB/s, and the largest value of a record that is worth a thought. */
const RATE_MAX = 1024 ** 4;

export const cost: Command = {
  name: "cost",
  usage: "--bytes-per-second SIZE [--partitions N] [flags] | --measured FILE [flags]",
  summary: "what a load costs a month: requests and dollars, from a forecast or a measurement",
  details:
    "Works out what an engine with your configuration sends to its store under an even load, once as much is merged and freed as comes in: " +
    "requests by what they are for, bytes stored, and dollars by the price lists of several providers. With several --linger one row each. " +
    "With --measured it takes what tierlog bench flush --json wrote, or engine.metrics() as JSON with --seconds, and says what a month of " +
    "that costs. Asks no store. Not in it: opening, retries, traffic between zones and regions, taxes, free tiers, discounts, and versions " +
    "that a bucket keeps. Requests of readers are an estimate, all else was compared with engines that run: docs/cost.md.",
  flags: [
    { name: "bytes-per-second", value: "SIZE", help: 'of all values, as in "10 MiB" or 10MiB' },
    { name: "record-size", value: "SIZE", help: 'bytes of one value (default: "1 KiB")' },
    { name: "partitions", value: "N", help: "1 … 1,000,000, written evenly (default: 1)" },
    {
      name: "linger",
      value: "TIME",
      multiple: true,
      help: "as system.flush.linger, or with a journal as system.journal.upload_interval; may be repeated (default: from the configuration)",
    },
    { name: "ack", value: "LEVEL", help: "uploaded or journaled (default: as ack_after_upload says)" },
    { name: "compressed-to", value: "PERCENT", help: "of their size, 1 … 100 (default: 100)" },
    { name: "latency", value: "TIME", help: 'how long the store takes for a small PUT, up to "10s" (default: "50ms")' },
    {
      name: "retention",
      value: "TIME",
      help: "how long records stay (default: as system.retention.ms; where that is off, a month)",
    },
    { name: "readers", value: "N", help: "processes elsewhere that follow all partitions, 0 … 10,000 (default: 0)" },
    { name: "measured", value: "FILE", help: "instead of a forecast: a measurement as JSON" },
    { name: "seconds", value: "N", help: "how long engine.metrics() had counted" },
    { name: "prices", value: "FILE", help: "price lists as JSON instead of the built-in ones: docs/cost.md" },
    {
      name: "provider",
      value: "NAME",
      multiple: true,
      help: `of a price list; may be repeated (built in: ${PRICES.map(({ name }) => name).join(", ")}; default: all, with several --linger the first)`,
    },
  ],
  positionals: [],
  examples: [
    "tierlog cost --bytes-per-second 10MiB --partitions 1000 --config config.toml",
    "tierlog cost --bytes-per-second 10MiB --partitions 1000 --linger 10ms --linger 250ms --linger 1s",
    "tierlog cost --measured bench.json --provider aws",
  ],

  async run(context, args) {
    const prices = await choosePrices(context, args);
    const file = args.text("measured");
    if (file !== undefined) return measured(context, args, file, prices);
    if (args.has("seconds")) throw new InvalidArgumentError("--seconds", args.text("seconds"), "belongs to --measured");
    if (!args.has("bytes-per-second")) {
      throw new InvalidArgumentError(
        "--bytes-per-second",
        undefined,
        "is missing: how much is appended? Or --measured FILE",
      );
    }
    const rows = await forecastRows(context, args);
    const { output } = context;
    if (output.json) {
      for (const row of rows) await output.writeJson(asJson(row, prices));
      return EXIT_OK;
    }
    const [only] = rows;
    const [list] = prices;
    if (rows.length === 1 && only !== undefined) await output.writeLine(formatForecast(only, prices));
    else if (list !== undefined) await output.writeLine(formatSweep(rows, list));
    return EXIT_OK;
  },
};

async function forecastRows(context: CommandContext, args: ParsedArguments): Promise<CostRow[]> {
  const ack = args.choice("ack", ["uploaded", "journaled"]);
  const ackFlags: Flags =
    ack === undefined ? {} : { "system.storage.object.ack_after_upload": String(ack === "uploaded") };
  const lingers = args.texts("linger");
  const rows: CostRow[] = [];
  const base = (await resolveContextConfig(context, ackFlags)).config;
  const key = base.storage.object.ackAfterUpload ? "system.flush.linger" : "system.journal.upload_interval";
  for (const linger of lingers.length === 0 ? [undefined] : lingers) {
    // Through the configuration: its bounds hold, and its errors name the key.
    const flags: Flags = linger === undefined ? ackFlags : { ...ackFlags, [key]: linger };
    const { config } = await resolveContextConfig(context, flags);
    const { flush, journal, storage } = config;
    const gatherMs = storage.object.ackAfterUpload ? flush.lingerMs : journal.uploadIntervalMs;
    rows.push({ gatherMs, forecast: forecast(config, parseLoad(args, config)) });
  }
  return rows;
}

function parseLoad(args: ParsedArguments, { retention }: Config): ForecastLoad {
  return {
    bytesPerSecond: quantity(args, "bytes-per-second", parseSize, 1, RATE_MAX) ?? 0,
    recordBytes: quantity(args, "record-size", parseSize, 1, 64 * MIB) ?? 1024,
    partitions: args.integer("partitions", 1, 1_000_000) ?? 1,
    compressedTo: (args.integer("compressed-to", 1, 100) ?? 100) / 100,
    storeLatencyMs: quantity(args, "latency", parseDuration, 0, 10_000) ?? 50,
    retentionMs: quantity(args, "retention", parseDuration, 1000, 36_500 * 86_400_000) ?? retention.ms,
    readers: args.integer("readers", 0, 10_000) ?? 0,
  };
}

function quantity(
  args: ParsedArguments,
  flag: string,
  parse: (text: string) => Parsed<number>,
  min: number,
  max: number,
): number | undefined {
  const text = args.text(flag);
  if (text === undefined) return undefined;
  const parsed = parse(text);
  if (!parsed.ok) throw new InvalidArgumentError(`--${flag}`, text, `"${text}" ${parsed.problem}`);
  if (parsed.value < min || parsed.value > max) {
    throw new InvalidArgumentError(
      `--${flag}`,
      text,
      `"${text}" is outside of what can be forecast (${min} … ${max} in the smallest unit)`,
    );
  }
  return parsed.value;
}

async function choosePrices({ configSource }: CommandContext, args: ParsedArguments): Promise<readonly PriceList[]> {
  const file = args.text("prices");
  const known = file === undefined ? PRICES : parsePrices(await readFile("--prices", file, configSource.cwd), file);
  const wanted = args.texts("provider");
  return wanted.length === 0
    ? known
    : wanted.map((name) => {
        const found = known.find((list) => list.name === name);
        if (found !== undefined) return found;
        throw new InvalidArgumentError(
          "--provider",
          name,
          `"${name}" has no price list; there are ${known.map((list) => list.name).join(", ")}`,
        );
      });
}

async function readFile(flag: string, file: string, cwd: string): Promise<string> {
  try {
    return await readTextFile(resolve(cwd, file));
  } catch (error) {
    throw new InvalidArgumentError(flag, file, `${file} ${fileProblem(error)}`);
  }
}

async function measured(
  { output, configSource }: CommandContext,
  args: ParsedArguments,
  file: string,
  prices: readonly PriceList[],
): Promise<number> {
  const other = FORECAST_FLAGS.find((flag) => args.has(flag));
  if (other !== undefined)
    throw new InvalidArgumentError(`--${other}`, args.text(other), "belongs to a forecast, not beside --measured");
  const seconds = args.integer("seconds", 1, Number.MAX_SAFE_INTEGER);
  const usage = parseMeasured(await readFile("--measured", file, configSource.cwd), file, seconds);
  if (output.json) {
    await output.writeJson({ ...usage, dollars: billsOf(usage, prices) });
    return EXIT_OK;
  }
  await output.writeLine(
    [
      `A month like those ${formatCount(usage.seconds)} s, at ${formatBytes(Math.round(usage.bytesPerSecond))} per second; what stays stored is not in it.`,
      formatTable(["REQUESTS A MONTH", "PUT", "GET", "LIST", "DELETE"], [requestRow("measured", usage.requests)]),
      formatBills(usage, prices),
      datesOf(prices),
    ].join("\n\n"),
  );
  return EXIT_OK;
}

function billsOf(usage: Parameters<typeof billOf>[0], prices: readonly PriceList[]): Record<string, unknown> {
  return Object.fromEntries(
    prices.map((list) => [list.name, { ...billOf(usage, list), date: list.date, source: list.source }]),
  );
}

function asJson(row: CostRow, prices: readonly PriceList[]): unknown {
  const { flush, merge, shards, requests, warnings } = row.forecast;
  const usage = usageOf(row.forecast);
  return {
    gatherMs: row.gatherMs,
    shards,
    flush,
    requestsPerSecond: requests,
    mergedBytesPerSecond: merge.bytesWritten * shards,
    month: usage,
    putsPerPartition: putsPerPartition(row.forecast),
    dollars: billsOf(usage, prices),
    warnings,
  };
}
