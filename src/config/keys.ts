import { accountProblem, providerProblem } from "./apply-preset.ts";
import {
  choice,
  customerKey,
  duration,
  filePath,
  flag,
  integer,
  offOr,
  secret,
  secretName,
  size,
  text,
  type ConfigValue,
  type KeyType,
} from "./key-type.ts";
import { CREATE_IF_ABSENT_HEADERS } from "./provider-presets.ts";
import {
  bucketProblem,
  endpointProblem,
  kmsKeyIdProblem,
  prefixProblem,
  profileProblem,
  regionProblem,
} from "./s3-names.ts";

/** One key of the configuration: the only place that says what it is called, what it may be and what it is by default. */
export interface ConfigKey {
  /** In `config.toml` and in messages, as in `system.flush.linger`. */
  readonly path: string;
  /** In `Config`, as in `flush.lingerMs`. */
  readonly field: string;
  readonly type: KeyType;
  /** undefined: not set, or worked out from other keys. */
  readonly default: Exclude<ConfigValue, object> | undefined;
}

const KiB = 1024;
const MiB = 1024 * KiB;
const GiB = 1024 * MiB;
const SECOND = 1000;
const MINUTE = 60 * SECOND;
const DAY = 24 * 60 * MINUTE;

export const CONFIG_KEYS: readonly ConfigKey[] = [
  key("system.path", "path", filePath(), "./tierlog-data"),
  key("system.shards", "shards", integer({ min: 1, max: 10_000 }), 1),
  key("system.shutdown_timeout", "shutdownTimeoutMs", duration({ min: 100, max: 60 * MINUTE }), 30 * SECOND),
  key("system.storage.kind", "storage.kind", choice(["memory", "fs", "object"]), "fs"),
  key("system.storage.object.service", "storage.object.service", choice(["s3"]), "s3"),
  key("system.storage.object.provider", "storage.object.provider", text(providerProblem), undefined),
  key("system.storage.object.account", "storage.object.account", text(accountProblem), undefined),
  key("system.storage.object.bucket", "storage.object.bucket", text(bucketProblem), undefined),
  key("system.storage.object.create_bucket", "storage.object.createBucket", flag(), false),
  key("system.storage.object.region", "storage.object.region", text(regionProblem), "us-east-1"),
  key("system.storage.object.endpoint", "storage.object.endpoint", text(endpointProblem), undefined),
  key("system.storage.object.allow_http", "storage.object.allowHttp", flag(), false),
  key("system.storage.object.tls_ca_file", "storage.object.tlsCaFile", filePath(), undefined),
  key("system.storage.object.tls_cert_file", "storage.object.tlsCertFile", filePath(), undefined),
  key("system.storage.object.tls_key_file", "storage.object.tlsKeyFile", filePath(), undefined),
  key("system.storage.object.prefix", "storage.object.prefix", text(prefixProblem), ""),
  key(
    "system.storage.object.multipart_part_size",
    "storage.object.multipartPartSizeBytes",
    size({
      min: 5 * MiB,
      minWhy: "S3 refuses smaller parts",
      max: 64 * MiB,
      maxWhy: "parts are held in memory while they are sent",
    }),
    8 * MiB,
  ),
  key("system.storage.object.parts_in_flight", "storage.object.partsInFlight", integer({ min: 1, max: 64 }), 4),
  key("system.storage.object.ack_after_upload", "storage.object.ackAfterUpload", flag(), true),
  key(
    "system.storage.object.fencing",
    "storage.object.fencing",
    choice(["conditional-put", "external"]),
    "conditional-put",
  ),
  key("system.storage.object.access_key_id", "storage.object.credentials.accessKeyId", secretName(), undefined),
  key("system.storage.object.secret_access_key", "storage.object.credentials.secretAccessKey", secret(), undefined),
  key("system.storage.object.session_token", "storage.object.credentials.sessionToken", secret(), undefined),
  key("system.storage.object.profile", "storage.object.profile", text(profileProblem), undefined),
  key("system.storage.object.force_path_style", "storage.object.forcePathStyle", flag(), undefined),
  key(
    "system.storage.object.payload_signing",
    "storage.object.payloadSigning",
    choice(["auto", "signed", "unsigned"]),
    "auto",
  ),
  key(
    "system.storage.object.create_if_absent",
    "storage.object.createIfAbsent",
    choice(CREATE_IF_ABSENT_HEADERS),
    "if-none-match",
  ),
  key(
    "system.storage.object.request_timeout",
    "storage.object.requestTimeoutMs",
    duration({ min: 100, max: 10 * MINUTE }),
    15 * SECOND,
  ),
  key(
    "system.storage.object.deadline",
    "storage.object.deadlineMs",
    duration({ min: 100, max: 60 * MINUTE }),
    60 * SECOND,
  ),
  key(
    "system.storage.object.encryption.mode",
    "storage.object.encryption.mode",
    choice(["none", "sse-s3", "sse-kms", "sse-c"]),
    "none",
  ),
  key(
    "system.storage.object.encryption.kms_key_id",
    "storage.object.encryption.kmsKeyId",
    text(kmsKeyIdProblem),
    undefined,
  ),
  key("system.storage.object.encryption.bucket_key", "storage.object.encryption.bucketKey", flag(), true),
  key(
    "system.storage.object.encryption.customer_key",
    "storage.object.encryption.customerKey",
    customerKey(),
    undefined,
  ),
  key(
    "system.storage.object.encryption.customer_key_file",
    "storage.object.encryption.customerKeyFile",
    filePath(),
    undefined,
  ),
  key(
    "system.flush.linger",
    "flush.lingerMs",
    duration({ min: 0, max: MINUTE, maxWhy: "an append waits at least that long for its ack" }),
    250,
  ),
  key("system.flush.max_bytes", "flush.maxBytes", size({ min: 64 * KiB, max: GiB }), 32 * MiB),
  key("system.flush.max_pending", "flush.maxPendingBytes", size({ min: 64 * KiB, max: 64 * GiB }), 128 * MiB),
  key("system.flush.max_wait", "flush.maxWaitMs", duration({ min: 0, max: 60 * MINUTE }), 10 * SECOND),
  key("system.batch.max_bytes", "batch.maxBytes", size({ min: KiB, max: 32 * MiB }), MiB),
  key(
    "system.index.checkpoint_every",
    "index.checkpointEvery",
    integer({
      min: 16,
      minWhy: "each checkpoint holds the whole state of its shard",
      max: 65_536,
      maxWhy: "opening a shard reads up to so many index files",
    }),
    256,
  ),
  key("system.journal.path", "journal.path", filePath(), undefined),
  key("system.journal.fsync", "journal.fsync", choice(["always", "interval", "never"]), "always"),
  key("system.journal.fsync_interval", "journal.fsyncIntervalMs", duration({ min: 1, max: MINUTE }), 100),
  key(
    "system.journal.file_size",
    "journal.fileSizeBytes",
    size({ min: 4 * MiB, max: GiB, maxWhy: "recovery reads a file whole" }),
    64 * MiB,
  ),
  key("system.journal.max_size", "journal.maxSizeBytes", size({ min: 8 * MiB, max: 1024 * GiB }), GiB),
  key(
    "system.journal.upload_interval",
    "journal.uploadIntervalMs",
    duration({ min: 100, max: 60 * MINUTE }),
    10 * SECOND,
  ),
  key(
    "system.journal.catch_up_rate",
    "journal.catchUpRateBytes",
    size({ min: MiB, minWhy: "bytes per second", max: 64 * GiB }),
    128 * MiB,
  ),
  key("system.journal.o_direct", "journal.oDirect", flag(), false),
  key(
    "system.fence.lease",
    "fence.leaseMs",
    offOr(
      duration({ min: SECOND, minWhy: "each acknowledgement needs a younger answer of the store", max: 10 * MINUTE }),
    ),
    0,
  ),
  key("system.retention.ms", "retention.ms", offOr(duration({ min: SECOND, max: 36_500 * DAY })), 0),
  key("system.retention.bytes", "retention.bytes", offOr(size({ min: KiB, max: 1024 * 1024 * GiB })), 0),
  key("system.retention.check_interval", "retention.checkIntervalMs", duration({ min: 100, max: DAY }), 5 * MINUTE),
  key(
    "system.segment.size",
    "segment.sizeBytes",
    size({ min: MiB, max: GiB, maxWhy: "the length of an extent has 32 bits" }),
    256 * MiB,
  ),
  key(
    "system.segment.max_age",
    "segment.maxAgeMs",
    duration({ min: SECOND, max: DAY, maxWhy: "index files stay until their records have left them" }),
    10 * MINUTE,
  ),
  key("system.merge.enabled", "merge.enabled", flag(), true),
  key(
    "system.merge.max_bytes_per_second",
    "merge.maxBytesPerSecond",
    size({ min: MiB, minWhy: "bytes per second", max: 64 * GiB }),
    64 * MiB,
  ),
  key("system.merge.check_interval", "merge.checkIntervalMs", duration({ min: 100, max: 60 * MINUTE }), 5 * SECOND),
  key("system.gc.enabled", "gc.enabled", flag(), true),
  key(
    "system.gc.grace",
    "gc.graceMs",
    duration({
      min: SECOND,
      minWhy: "readers must have time to leave what was replaced",
      max: 7 * DAY,
      maxWhy: "a process waits that long for every delete, and begins anew when it is restarted",
    }),
    60 * MINUTE,
  ),
  key("system.gc.interval", "gc.intervalMs", duration({ min: 100, max: DAY }), 5 * MINUTE),
  key(
    "system.gc.sweep_interval",
    "gc.sweepIntervalMs",
    duration({ min: 100, minWhy: "each sweep lists the whole store", max: 7 * DAY }),
    6 * 60 * MINUTE,
  ),
  key("system.cache.tail_size", "cache.tailSizeBytes", size({ min: 64 * KiB, max: 64 * GiB }), 32 * MiB),
  key("system.cache.size", "cache.sizeBytes", size({ min: 64 * KiB, max: 64 * GiB }), 64 * MiB),
];

const byPath = new Map(CONFIG_KEYS.map((entry) => [entry.path, entry]));
const byField = new Map(CONFIG_KEYS.map((entry) => [entry.field, entry]));

export function keyAt(path: string): ConfigKey | undefined {
  return byPath.get(path);
}

export function keyOfField(field: string): ConfigKey | undefined {
  return byField.get(field);
}

/** The name of a key's environment variable, as in `TIERLOG_SYSTEM_FLUSH_LINGER`. */
export function environmentName(path: string): string {
  return `TIERLOG_${path.replaceAll(".", "_").toUpperCase()}`;
}

/** Of `a.b.c`: `a` and `a.b`. */
export function parentPaths(path: string): string[] {
  const names = path.split(".");
  return names.slice(1).map((_, i) => names.slice(0, i + 1).join("."));
}

function key(path: string, field: string, type: KeyType, value: ConfigKey["default"]): ConfigKey {
  return { path, field, type, default: value };
}
