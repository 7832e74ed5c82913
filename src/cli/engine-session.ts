import type { Config } from "../config/config.ts";
import type { EngineApi } from "../engine/api.ts";
import type { CloseReport } from "../engine/reports.ts";
import { ConfigError } from "../errors.ts";
import { resolveContextConfig, type CommandContext } from "./context.ts";
import { formatBytes, formatCount } from "./numbers.ts";
import type { Output } from "./output.ts";

/**
 * Opens the engine that the configuration names, runs `use`, closes it, and tells what stays in the journal. Rejects with the first
 * error of the three.
 */
export async function withEngine<T>(
  context: CommandContext,
  options: { readonly readOnly: boolean; readonly appends?: boolean },
  use: (engine: EngineApi, config: Config) => Promise<T>,
): Promise<T> {
  const { config } = await resolveContextConfig(context);
  if (config.storage.kind === "memory") {
    throw new ConfigError([
      {
        path: "system.storage.kind",
        problem: '"memory" is gone when the command ends; use "fs" or "object" (only tierlog demo works in memory)',
      },
    ]);
  }
  // Loaded late: help and mistakes in the arguments need neither the engine nor the AWS SDK.
  const { Engine } = await import("../engine/engine.ts");
  const engine = await Engine.open(config, { ...options, runtime: context.runtime });
  let result: T;
  try {
    result = await use(engine, config);
  } catch (error) {
    // What made `use` fail most often makes `close` fail too: the first error is the one to tell.
    await engine.close().catch(() => undefined);
    throw error;
  }
  tellJournaled(context.output, await engine.close());
  return result;
}

/** Says what closing had to leave in the journal: acknowledged, and not in the store. */
export function tellJournaled(output: Output, { journaled }: CloseReport): void {
  for (const { shard, records, bytes } of journaled) {
    output.message(
      `warning: ${formatCount(records)} records (${formatBytes(bytes)}) of shard ${shard} are in the journal and not in the store: ` +
        "the next process that opens this journal sends them, or tierlog recover",
      { shard, records, bytes },
    );
  }
}
