import type { ShardId } from "../domain.ts";
import { InvariantError } from "../errors.ts";
import type { FileSystem } from "../runtime/file-system.ts";
import type { Frame } from "./frame.ts";
import type { JournalOptions } from "./options.ts";
import type { AsideReport, FrameDamage, PartitionRange, TornTail } from "./reports.ts";

export interface JournalInspection {
  readonly directory: string;
  readonly shard: ShardId;
  readonly journalId: string;
  readonly slots: readonly {
    readonly file: string;
    readonly fileNumber: number;
    readonly sizeBytes: number;
    readonly frames: number;
    readonly liveFrames: number;
    readonly firstSequence: number | undefined;
    readonly lastSequence: number | undefined;
  }[];
  readonly live: {
    readonly frames: number;
    readonly records: number;
    readonly bytes: number;
    readonly partitions: readonly PartitionRange[];
  };
  readonly tornTail: TornTail | undefined;
  readonly damage: readonly FrameDamage[];
  readonly damagedFreed: readonly FrameDamage[];
  readonly aside: readonly (AsideReport & { readonly problem: string | undefined })[];
}

export function inspectJournal(_directory: string, _fileSystem: FileSystem): Promise<JournalInspection> {
  throw new InvariantError("the journal has no body yet");
}

export function cutDamage(_options: JournalOptions): Promise<AsideReport | undefined> {
  throw new InvariantError("the journal has no body yet");
}

export function readAside(
  _path: string,
  _fileSystem: FileSystem,
): AsyncIterable<{ readonly frame: Frame; readonly payload: Uint8Array }> {
  throw new InvariantError("the journal has no body yet");
}

export class JournalDirectory {
  static open(_options: {
    readonly path: string;
    readonly storeId: string;
    readonly fileSystem: FileSystem;
    readonly create: boolean;
  }): Promise<JournalDirectory | undefined> {
    throw new InvariantError("the journal has no body yet");
  }
  shards(): readonly ShardId[] {
    throw new InvariantError("the journal has no body yet");
  }
  shardPath(_shard: ShardId): string {
    throw new InvariantError("the journal has no body yet");
  }
  close(): Promise<void> {
    throw new InvariantError("the journal has no body yet");
  }
}
