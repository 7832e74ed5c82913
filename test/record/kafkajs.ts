import { createRequire } from "node:module";

import { compressFrameSync, decompressFrameSync } from "lz4-napi";

/**
 * KafkaJS's own encoder and decoder of RecordBatch v2: internal files of that package, so that somebody else's code judges ours.
 * LZ4 is a plug-in there.
 */
const require = createRequire(import.meta.url);

interface Encoder {
  readonly buffer: Buffer;
}

export interface KafkaRecord {
  readonly magicByte: number;
  readonly timestamp: string;
  readonly offset: string;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: Record<string, unknown>;
}

export interface KafkaBatch {
  readonly firstOffset: string;
  readonly firstTimestamp: string;
  readonly maxTimestamp: string;
  readonly partitionLeaderEpoch: number;
  readonly lastOffsetDelta: number;
  readonly producerId: string;
  readonly producerEpoch: number;
  readonly firstSequence: number;
  readonly inTransaction: boolean;
  readonly isControlBatch: boolean;
  readonly timestampType: number;
  readonly records: readonly KafkaRecord[];
}

export interface KafkaMessage {
  readonly offsetDelta: number;
  readonly timestampDelta: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers?: Record<string, Buffer | string | readonly string[]>;
}

const Decoder = require("kafkajs/src/protocol/decoder") as new (bytes: Buffer) => object;
const decodeBatch = require("kafkajs/src/protocol/recordBatch/v0/decoder") as (decoder: object) => Promise<KafkaBatch>;
const Record_ = require("kafkajs/src/protocol/recordBatch/record/v0") as (message: KafkaMessage) => Encoder;
const { RecordBatch } = require("kafkajs/src/protocol/recordBatch/v0") as {
  RecordBatch: (options: object) => Promise<Encoder>;
};
const compression = require("kafkajs/src/protocol/message/compression") as { Codecs: Record<number, () => object> };

/** Of all bytes from `attributes` on, unsigned. */
export const kafkaCrc32c = require("kafkajs/src/protocol/recordBatch/crc32C") as (bytes: Buffer) => number;
export const kafkaMurmur2 = require("kafkajs/src/producer/partitioners/default/murmur2") as (key: Buffer) => number;

export const KAFKA_LZ4 = 3;
compression.Codecs[KAFKA_LZ4] = () => ({
  compress: (encoder: Encoder) => Promise.resolve(compressFrameSync(encoder.buffer)),
  decompress: (bytes: Buffer) => Promise.resolve(decompressFrameSync(bytes)),
});

export function decodeWithKafka(batch: Uint8Array): Promise<KafkaBatch> {
  return decodeBatch(new Decoder(Buffer.from(batch)));
}

export async function encodeWithKafka(
  messages: readonly KafkaMessage[],
  options: {
    compression?: number;
    firstTimestamp: number;
    maxTimestamp: number;
    transactional?: boolean;
    producerId?: number;
  },
): Promise<Buffer> {
  const batch = await RecordBatch({
    ...options,
    records: messages.map((message) => Record_(message)),
    lastOffsetDelta: messages.length - 1,
  });
  return batch.buffer;
}
