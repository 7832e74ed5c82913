import { describeConfig } from "../../config/describe-config.ts";
import type { Command } from "../command.ts";
import { resolveContextConfig } from "../context.ts";
import { EXIT_OK } from "../exit-code.ts";
import { formatTable } from "../table.ts";

export const configCheck: Command = {
  name: "config check",
  usage: "[--config FILE] [flags]",
  summary: "check the configuration and show where each value comes from",
  details:
    "Reads file, environment and flags as every other command would, and shows each key with its value and its source. " +
    "Secrets are masked. Opens no store. All problems are told at once, with exit code 78.",
  flags: [],
  positionals: [],
  examples: ["tierlog config check --config config.toml", "TIERLOG_SYSTEM_FLUSH_LINGER=1s tierlog config check --json"],

  async run(context) {
    const { config, sources } = await resolveContextConfig(context);
    const entries = describeConfig(config).map(({ path, value }) => ({
      path,
      value,
      source: sources.get(path) ?? "default",
    }));
    if (context.output.json) {
      const byPath = entries.map(({ path, value, source }) => [path, { value: value ?? null, source }]);
      await context.output.writeJson({ config: Object.fromEntries(byPath) });
    } else {
      const rows = entries.map(({ path, value, source }) => [path, shown(value), source]);
      await context.output.writeLine(formatTable(["KEY", "VALUE", "SOURCE"], rows));
    }
    return EXIT_OK;
  },
};

function shown(value: string | undefined): string {
  if (value === undefined) return "(not set)";
  return value === "" ? '""' : value;
}
