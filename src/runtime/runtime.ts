import { env } from "node:process";

import { systemClock, type Clock } from "./clock.ts";
import type { Environment } from "./environment.ts";
import { nodeFileSystem, type FileSystem } from "./file-system.ts";
import { silentLogger, type Logger } from "./logger.ts";
import { systemRandom, type Random } from "./random.ts";

/** Everything that is not a pure function of its input, in one bundle that tests replace. */
export interface Runtime {
  readonly clock: Clock;
  readonly random: Random;
  readonly fileSystem: FileSystem;
  readonly logger: Logger;
  /** Looked at when a store is opened and whenever credentials are renewed. */
  readonly environment: Environment;
}

export const systemRuntime: Runtime = {
  clock: systemClock,
  random: systemRandom,
  fileSystem: nodeFileSystem,
  logger: silentLogger,
  environment: env,
};
