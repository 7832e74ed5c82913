import type { Readable } from "node:stream";

import type { Flags } from "../config/flag-settings.ts";
import { loadConfig } from "../config/load-config.ts";
import type { ResolvedConfig } from "../config/resolve-config.ts";
import type { Environment } from "../runtime/environment.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { Interruption } from "./interruption.ts";
import type { Output } from "./output.ts";

/** Where the configuration of this process comes from. Plain data: the demo hands it to its child. */
export interface ConfigSource {
  readonly file: string | undefined;
  readonly flags: Flags;
  readonly cwd: string;
}

/** What a command has to work with. */
export interface CommandContext {
  readonly output: Output;
  readonly stdin: Readable;
  readonly env: Environment;
  readonly configSource: ConfigSource;
  readonly runtime: Runtime;
  readonly interruption: Interruption;
}

/** The configuration with the flags of the command line, and `flags` on top of those. With `runtime`, what is to be warned of is. */
export async function resolveContextConfig(
  context: Pick<CommandContext, "configSource" | "env"> & Partial<Pick<CommandContext, "runtime">>,
  flags: Flags = {},
): Promise<ResolvedConfig> {
  const { file, flags: given, cwd } = context.configSource;
  const resolved = await loadConfig({ file, env: context.env, flags: { ...given, ...flags }, cwd });
  for (const warning of resolved.warnings) context.runtime?.logger.warn(warning);
  return resolved;
}
