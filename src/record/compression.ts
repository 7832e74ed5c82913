/** Codec of a batch. The numbers are Kafka's (RecordBatch v2, attributes bits 0–2) and are stored: never change them. */
export const COMPRESSION_ID = { none: 0, lz4: 3 } as const;

export type Compression = keyof typeof COMPRESSION_ID;
