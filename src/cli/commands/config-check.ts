import type { Config } from "../../config/config.ts";
import { describeConfig } from "../../config/describe-config.ts";
import { storeUrl } from "../../config/s3-names.ts";
import { credentialSources } from "../../object-store/credentials/credential-chain.ts";
import { proxyFor } from "../../object-store/proxy.ts";
import { readTlsFiles } from "../../object-store/tls-files.ts";
import type { Command } from "../command.ts";
import { resolveContextConfig, type CommandContext } from "../context.ts";
import { EXIT_OK } from "../exit-code.ts";
import { formatTable } from "../table.ts";

export const configCheck: Command = {
  name: "config check",
  usage: "[--config FILE] [flags]",
  summary: "check the configuration and show where each value comes from",
  details:
    "Reads file, environment and flags as every other command would, and shows each key with its value and its source. " +
    "Secrets are masked. Of a bucket it also shows where credentials would be asked for, in order, and through which proxy it would " +
    "be reached. Opens no store and asks nobody. All problems are told at once, with exit code 78.",
  flags: [],
  positionals: [],
  examples: ["tierlog config check --config config.toml", "TIERLOG_SYSTEM_FLUSH_LINGER=1s tierlog config check --json"],

  async run(context) {
    const { config, sources } = await resolveContextConfig(context);
    const link = config.storage.kind === "object" ? await linkOf(config, context) : undefined;
    const entries = describeConfig(config).map(({ path, value }) => ({
      path,
      value,
      source: sources.get(path) ?? "default",
    }));
    if (context.output.json) {
      const byPath = entries.map(({ path, value, source }) => [path, { value: value ?? null, source }]);
      await context.output.writeJson({ config: Object.fromEntries(byPath), ...link });
    } else {
      const rows = entries.map(({ path, value, source }) => [path, shown(value), source]);
      await context.output.writeLine(formatTable(["KEY", "VALUE", "SOURCE"], rows));
      if (link !== undefined) {
        await context.output.writeLine(`\ncredentials from: ${link.credentials.join(", else ") || "nowhere"}`);
        await context.output.writeLine(`proxy: ${link.proxy ?? "none"}`);
      }
    }
    return EXIT_OK;
  },
};

/** What the environment, and files beside the config, add to a bucket. Rejects with `ConfigError` where they cannot be used. */
async function linkOf(
  { storage: { object } }: Config,
  context: Pick<CommandContext, "env" | "runtime">,
): Promise<{ readonly credentials: readonly string[]; readonly proxy: string | null }> {
  await readTlsFiles(object);
  const proxy = proxyFor(storeUrl(object.endpoint, object.region), context.env);
  const sources =
    object.credentials === undefined
      ? await credentialSources(object, { clock: context.runtime.clock, environment: context.env })
      : [{ name: "access_key_id", missing: undefined }];
  return {
    credentials: sources.filter(({ missing }) => missing === undefined).map(({ name }) => name),
    proxy: proxy?.url.href ?? null,
  };
}

function shown(value: string | undefined): string {
  if (value === undefined) return "(not set)";
  return value === "" ? '""' : value;
}
