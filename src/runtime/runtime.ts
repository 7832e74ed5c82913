import { systemClock, type Clock } from "./clock.ts";
import { nodeFileSystem, type FileSystem } from "./file-system.ts";
import { silentLogger, type Logger } from "./logger.ts";
import { systemRandom, type Random } from "./random.ts";

/** Everything that is not a pure function of its input, in one bundle that tests replace. */
export interface Runtime {
  readonly clock: Clock;
  readonly random: Random;
  readonly fileSystem: FileSystem;
  readonly logger: Logger;
}

export const systemRuntime: Runtime = {
  clock: systemClock,
  random: systemRandom,
  fileSystem: nodeFileSystem,
  logger: silentLogger,
};
