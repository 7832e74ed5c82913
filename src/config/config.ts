import type { CreateIfAbsentHeader } from "./provider-presets.ts";
import type { Secret } from "./secret.ts";

/**
 * The resolved configuration: plain data, every default filled in, every bound checked, frozen. Sizes are bytes, times are
 * milliseconds. `config.toml` documents each key; the key of a field is its name in snake case without the unit.
 */
export interface Config {
  /** `system.path`, absolute: the directory for local data. */
  readonly path: string;
  /** `system.shards`: shards over which partitions of new topics are spread, 1 … 10,000. */
  readonly shards: number;
  /** `system.shutdown_timeout`: how long `close()` may go on sending what is pending. */
  readonly shutdownTimeoutMs: number;
  readonly storage: StorageConfig;
  readonly flush: FlushConfig;
  readonly batch: { readonly maxBytes: number };
  /** `system.index.checkpoint_every`: links of a shard's index chain between two checkpoints, 16 … 65,536. */
  readonly index: { readonly checkpointEvery: number };
  readonly journal: JournalConfig;
  /** `system.fence.lease`: journaled acks end when nothing has shown for so long that the epoch is still ours; 0: off. */
  readonly fence: { readonly leaseMs: number };
  /** `system.retention`, for topics that say nothing themselves: `ms` and `bytes` (per partition), 0: off; how often it is looked at. */
  readonly retention: { readonly ms: number; readonly bytes: number; readonly checkIntervalMs: number };
  /** `system.segment`: what merging makes of flushes, and how old an inline extent may get before it leaves its index file. */
  readonly segment: { readonly sizeBytes: number; readonly maxAgeMs: number };
  readonly merge: MergeConfig;
  readonly gc: GcConfig;
  readonly cache: { readonly tailSizeBytes: number; readonly sizeBytes: number };
}

export interface StorageConfig {
  /** Where the logs live: "memory" (demo and bench only), "fs" (a directory under `path`), "object" (an S3-compatible bucket). */
  readonly kind: "memory" | "fs" | "object";
  /** Of "object" only bucket and connection keys matter to that kind; part size, ack and deadline hold for every kind. */
  readonly object: ObjectConfig;
}

export interface ObjectConfig {
  readonly service: "s3";
  /** A name of `PROVIDER_PRESETS`, whose settings stand in the other fields wherever nobody said otherwise. undefined: any server. */
  readonly provider: string | undefined;
  /** What stands for the customer in the address of some providers. */
  readonly account: string | undefined;
  /** Never empty where `kind` is "object". */
  readonly bucket: string;
  /** A bucket that is missing is made when the store is opened for writing. For development. */
  readonly createBucket: boolean;
  readonly region: string;
  /** undefined: the endpoint of AWS for `region`. */
  readonly endpoint: string | undefined;
  /** Plain HTTP to another machine. */
  readonly allowHttp: boolean;
  /** PEM, absolute: the only authorities the store's certificate may come from. undefined: those of Node. */
  readonly tlsCaFile: string | undefined;
  /** PEM, absolute: what this client shows the store; both or none. */
  readonly tlsCertFile: string | undefined;
  readonly tlsKeyFile: string | undefined;
  /** Without a slash at either end; may be empty. */
  readonly prefix: string;
  /** ≥ 5 MiB: the largest index file, and the size of a part. */
  readonly multipartPartSizeBytes: number;
  /** Parts of one upload under way at a time. */
  readonly partsInFlight: number;
  readonly ackAfterUpload: boolean;
  /** What keeps two writers apart: the store's conditional PUT, or something outside tierlog. */
  readonly fencing: "conditional-put" | "external";
  readonly credentials: CredentialsConfig | undefined;
  /** Of AWS's shared files, in place of any search; never beside `credentials`. */
  readonly profile: string | undefined;
  readonly forcePathStyle: boolean;
  /** What guards the bytes on their way: "signed" their SHA-256, "unsigned" a CRC-32C, "auto" what the store is known to check. */
  readonly payloadSigning: "auto" | "signed" | "unsigned";
  readonly encryption: EncryptionConfig;
  /** How the store is asked to create an object only if it does not exist. */
  readonly createIfAbsent: CreateIfAbsentHeader;
  /** One attempt of one request. */
  readonly requestTimeoutMs: number;
  /** One operation with all its attempts. */
  readonly deadlineMs: number;
}

/** How the store keeps objects. Client-side encryption is not there yet. */
export interface EncryptionConfig {
  /** "none" asks for nothing: the default encryption of the bucket holds. */
  readonly mode: "none" | "sse-s3" | "sse-kms" | "sse-c";
  /** Of "sse-kms"; undefined: the account's own key for S3. */
  readonly kmsKeyId: string | undefined;
  /** Of "sse-kms": one key per bucket and some time instead of a request to KMS per object. */
  readonly bucketKey: boolean;
  /** Of "sse-c", 32 bytes in base64; undefined where a file is named. */
  readonly customerKey: Secret | undefined;
  /** Absolute. Read when the store is opened. */
  readonly customerKeyFile: string | undefined;
}

export interface CredentialsConfig {
  readonly accessKeyId: string;
  readonly secretAccessKey: Secret;
  readonly sessionToken: Secret | undefined;
}

/** Merging in the background, in the shards that a process owns. */
export interface MergeConfig {
  readonly enabled: boolean;
  /** Of bytes written, over all shards. */
  readonly maxBytesPerSecond: number;
  readonly checkIntervalMs: number;
}

/** How space in the store is freed: docs/gc.md. */
export interface GcConfig {
  /** In the background, in the shards that an engine owns. The grace holds either way. */
  readonly enabled: boolean;
  /** How long what nobody names any more is kept. The same in all processes of a store. */
  readonly graceMs: number;
  /** Between two rounds. */
  readonly intervalMs: number;
  /** Between two rounds that list what is in the store. */
  readonly sweepIntervalMs: number;
}

export interface FlushConfig {
  readonly lingerMs: number;
  readonly maxBytes: number;
  readonly maxPendingBytes: number;
  /** How long an append may wait for room below `maxPendingBytes`. */
  readonly maxWaitMs: number;
}

/** The local journal of shards, used where `ackAfterUpload` is false. */
export interface JournalConfig {
  /** Absolute. */
  readonly path: string;
  /** When bytes are brought to the disk: before the ack, at most an interval after it, or whenever the system likes. */
  readonly fsync: "always" | "interval" | "never";
  readonly fsyncIntervalMs: number;
  /** Of each recycled file. */
  readonly fileSizeBytes: number;
  /** Of all files of one shard. */
  readonly maxSizeBytes: number;
  /** How long journaled records gather before they are uploaded. */
  readonly uploadIntervalMs: number;
  /** Bytes per second at which a backlog is uploaded, per shard. */
  readonly catchUpRateBytes: number;
  readonly oDirect: boolean;
}
