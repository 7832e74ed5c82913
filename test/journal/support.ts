import type { Epoch, Offset, ShardId, TopicId } from "../../src/domain.ts";
import type { FrameInput } from "../../src/journal/frame.ts";
import type { JournalOptions, JournalSettings } from "../../src/journal/options.ts";
import { systemClock } from "../../src/runtime/clock.ts";
import { nodeFileSystem } from "../../src/runtime/file-system.ts";
import { silentLogger, type Logger } from "../../src/runtime/logger.ts";
import { seededRandom } from "../../src/runtime/random.ts";

export const SHARD = 3 as ShardId;
export const TOPIC = "00112233445566778899aabbccddeeff" as TopicId;

export const SETTINGS: JournalSettings = {
  fileSizeBytes: 16 * 1024,
  maxSizeBytes: 8 * 16 * 1024,
  fsync: "always",
  fsyncIntervalMs: 10,
  oDirect: false,
};

export function journalOptions(
  directory: string,
  options: Partial<JournalOptions> & { settings?: JournalSettings } = {},
): JournalOptions {
  return {
    directory,
    shard: SHARD,
    fileSystem: nodeFileSystem,
    clock: systemClock,
    random: seededRandom(1),
    logger: silentLogger,
    settings: SETTINGS,
    ...options,
  };
}

/** A frame of one partition whose payload follows from its offset. */
export function frameOf(baseOffset: number, payloadBytes: number, records = 1): FrameInput {
  const payload = payloadOf(baseOffset, payloadBytes);
  const half = payload.length >>> 1;
  return {
    epoch: 7 as Epoch,
    createdAtMs: 1_700_000_000_000 + baseOffset,
    extents: [
      {
        topicId: TOPIC,
        partition: 5,
        baseOffset: baseOffset as Offset,
        nextOffset: (baseOffset + records) as Offset,
        position: 0,
        lengthBytes: payloadBytes,
        maxTimestampMs: 1_699_999_999_000,
      },
    ],
    chunks: [payload.subarray(0, half), payload.subarray(half)],
    payloadBytes,
  };
}

export function payloadOf(baseOffset: number, bytes: number): Uint8Array {
  return seededRandom(baseOffset + 1).bytes(bytes);
}

export class LoggerSpy implements Logger {
  readonly warnings: { readonly message: string; readonly fields: Record<string, unknown> | undefined }[] = [];

  info(): void {}

  warn(message: string, fields?: Record<string, unknown>): void {
    this.warnings.push({ message, fields });
  }
}
