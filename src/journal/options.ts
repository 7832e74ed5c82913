import type { ShardId } from "../domain.ts";
import type { Clock } from "../runtime/clock.ts";
import type { FileSystem } from "../runtime/file-system.ts";
import type { Logger } from "../runtime/logger.ts";
import type { Random } from "../runtime/random.ts";

export interface JournalSettings {
  /** Of each file; rounded down to a multiple of 4 KiB. */
  readonly fileSizeBytes: number;
  /** Of all files together; at least two of them. */
  readonly maxSizeBytes: number;
  readonly fsync: "always" | "interval" | "never";
  readonly fsyncIntervalMs: number;
  readonly oDirect: boolean;
}

export interface JournalOptions {
  /** Of this shard's journal: `JournalDirectory.shardPath(shard)`. */
  readonly directory: string;
  readonly shard: ShardId;
  readonly fileSystem: FileSystem;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly settings: JournalSettings;
}
