/**
 * The error taxonomy. `kind` says what the caller does next, `code` is stable, `message` is free text that may improve any day.
 * Match on `kind` or `code`, not on `instanceof`: two copies of the package, or an error that crossed a worker, break `instanceof`.
 *
 * | kind        | the caller                                                    | exit code |
 * | ----------- | ------------------------------------------------------------- | --------- |
 * | invalid     | corrects the call or the config                               | 64 (config 78, provider 69) |
 * | not-found   | creates what is missing, or asks for something else           | 66        |
 * | unavailable | tries later                                                   | 75        |
 * | fenced      | drops the handle; opens anew only if it still should own it   | 77        |
 * | data        | stops and calls an operator                                   | 65        |
 * | closed      | opens a new handle                                            | 70        |
 * | aborted     | nothing: it asked for it                                      | 130       |
 * | internal    | reports a bug                                                 | 70        |
 */
export type ErrorKind = "invalid" | "not-found" | "unavailable" | "fenced" | "data" | "closed" | "aborted" | "internal";

/** For writes: may the records be stored all the same? Only after "none" may the same records be sent again blindly. */
export type Effect = "none" | "unknown";

interface Options {
  readonly cause?: unknown;
  readonly effect?: Effect;
}

export abstract class TierlogError extends Error {
  abstract readonly kind: ErrorKind;
  abstract readonly code: `TIERLOG_${string}`;
  readonly effect: Effect;

  constructor(message: string, options: Options = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.effect = options.effect ?? "none";
  }

  /** The exit code of the CLI, by kind (sysexits numbers). */
  get exitCode(): number {
    return EXIT_CODES[this.kind];
  }

  /** Plain fields of this case, for logs and `--json`. Subclasses list their own. */
  data(): Record<string, unknown> {
    return {};
  }

  /** The same error with another effect, and this one as its cause: one failure can mean different things to two appends. */
  withEffect(effect: Effect): TierlogError {
    if (effect === this.effect) return this;
    const copy = Object.create(Object.getPrototypeOf(this), {
      ...Object.getOwnPropertyDescriptors(this),
      effect: { value: effect, enumerable: true },
      cause: { value: this },
    }) as TierlogError;
    return copy;
  }

  toJSON(): Record<string, unknown> {
    return { kind: this.kind, code: this.code, effect: this.effect, message: this.message, ...this.data() };
  }
}

const EXIT_CODES: Record<ErrorKind, number> = {
  invalid: 64,
  data: 65,
  "not-found": 66,
  closed: 70,
  internal: 70,
  unavailable: 75,
  fenced: 77,
  aborted: 130,
};

/** An argument of the API or the command line is not usable. */
export class InvalidArgumentError extends TierlogError {
  readonly kind = "invalid";
  readonly code = "TIERLOG_INVALID_ARGUMENT";
  readonly argument: string;
  readonly value: unknown;

  constructor(argument: string, value: unknown, problem: string, options?: Options) {
    super(`${argument}: ${problem}`, options);
    this.argument = argument;
    this.value = value;
  }

  override data(): Record<string, unknown> {
    return { argument: this.argument, value: printable(this.value) };
  }
}

export interface ConfigIssue {
  /** Dotted path of the key, as in `system.storage.object.bucket`. */
  readonly path: string;
  readonly problem: string;
}

/** The configuration cannot be used. Carries every problem found, not only the first. */
export class ConfigError extends TierlogError {
  readonly kind = "invalid";
  readonly code = "TIERLOG_CONFIG";
  readonly issues: readonly ConfigIssue[];

  constructor(issues: readonly ConfigIssue[], options?: Options) {
    super(
      issues.length === 1
        ? `config: ${line(issues[0])}`
        : `config has ${issues.length} problems:\n${issues.map((issue) => `  ${line(issue)}`).join("\n")}`,
      options,
    );
    this.issues = issues;
  }

  override get exitCode(): number {
    return 78;
  }

  override data(): Record<string, unknown> {
    return { issues: this.issues };
  }
}

function line(issue: ConfigIssue | undefined): string {
  return issue === undefined ? "no issue given" : `${issue.path}: ${issue.problem}`;
}

/** A read asked for an offset outside [start, end]. */
export class OffsetOutOfRangeError extends TierlogError {
  readonly kind = "invalid";
  readonly code = "TIERLOG_OFFSET_OUT_OF_RANGE";
  readonly requested: number;
  readonly start: number;
  readonly end: number;

  /** `hint`: what to do about it. */
  constructor(requested: number, start: number, end: number, hint?: string) {
    super(
      `offset ${requested} is outside the readable range ${start} … ${end}${hint === undefined ? "" : ` (${hint})`}`,
    );
    this.requested = requested;
    this.start = start;
    this.end = end;
  }

  override data(): Record<string, unknown> {
    return { requested: this.requested, start: this.start, end: this.end };
  }
}

/** One record, or one pre-encoded batch, is larger than a batch may be. */
export class RecordTooLargeError extends TierlogError {
  readonly kind = "invalid";
  readonly code = "TIERLOG_RECORD_TOO_LARGE";
  readonly sizeBytes: number;
  readonly sizeBytesMax: number;

  constructor(what: string, sizeBytes: number, sizeBytesMax: number) {
    super(`${what} has ${sizeBytes} bytes, the limit is ${sizeBytesMax} (batch.max_bytes)`);
    this.sizeBytes = sizeBytes;
    this.sizeBytesMax = sizeBytesMax;
  }

  override data(): Record<string, unknown> {
    return { sizeBytes: this.sizeBytes, sizeBytesMax: this.sizeBytesMax };
  }
}

/** A topic, partition or store that does not exist. The message says how to create it. */
export class NotFoundError extends TierlogError {
  readonly kind = "not-found";
  readonly code = "TIERLOG_NOT_FOUND";
  readonly resource: string;

  constructor(resource: string, hint: string, options?: Options) {
    super(`${resource} does not exist; ${hint}`, options);
    this.resource = resource;
  }

  override data(): Record<string, unknown> {
    return { resource: this.resource };
  }
}

/** The object store refused or failed, after all retries that make sense. */
export class ObjectStoreError extends TierlogError {
  readonly kind = "unavailable";
  readonly code = "TIERLOG_OBJECT_STORE";
  readonly operation: string;
  readonly key: string;
  /** HTTP status, where there was an answer. */
  readonly status: number | undefined;
  readonly attempts: number;
  /** false: the same request will fail again (credentials, bucket, permissions). */
  readonly retryable: boolean;
  /** Of a delete of several keys: those that were not deleted, while the others were; undefined: nobody knows. */
  readonly failedKeys: readonly string[] | undefined;

  constructor(
    message: string,
    details: {
      readonly operation: string;
      readonly key: string;
      readonly status?: number | undefined;
      readonly attempts?: number;
      readonly retryable: boolean;
      readonly failedKeys?: readonly string[] | undefined;
    },
    options?: Options,
  ) {
    super(message, options);
    this.operation = details.operation;
    this.key = details.key;
    this.status = details.status;
    this.attempts = details.attempts ?? 1;
    this.retryable = details.retryable;
    this.failedKeys = details.failedKeys;
  }

  override data(): Record<string, unknown> {
    return { operation: this.operation, key: this.key, status: this.status, attempts: this.attempts };
  }
}

/** The object store cannot do what the fence between writers stands on. Nothing but the result of the probe was written. */
export class UnsupportedProviderError extends TierlogError {
  readonly kind = "invalid";
  readonly code = "TIERLOG_UNSUPPORTED_PROVIDER";
  readonly store: string;
  /** What it cannot do, a sentence each. */
  readonly failed: readonly string[];

  /** `overridable`: it would do for one writer that is kept alone by other means. */
  constructor(store: string, failed: readonly string[], overridable: boolean, options?: Options) {
    const override = overridable
      ? '; only if something else makes sure that there is never more than one writer, set system.storage.object.fencing = "external"'
      : "";
    super(
      `${store} cannot be used: ${failed.join("; ")}. tierlog doctor tests it in detail. Use a store with atomic conditional ` +
        `writes (PUT with If-None-Match)${override}`,
      options,
    );
    this.store = store;
    this.failed = failed;
  }

  /** EX_UNAVAILABLE of sysexits: a service is not what it must be. */
  override get exitCode(): number {
    return 69;
  }

  override data(): Record<string, unknown> {
    return { store: this.store, failed: this.failed };
  }
}

/** Back-pressure lasted longer than an append may wait. Nothing of this append was taken. */
export class OverloadedError extends TierlogError {
  readonly kind = "unavailable";
  readonly code = "TIERLOG_OVERLOADED";
  readonly queuedBytes: number;
  readonly queuedBytesMax: number;

  /** `limit` is the key of the limit that was reached. */
  constructor(queuedBytes: number, queuedBytesMax: number, waitedMs: number, limit = "flush.max_pending") {
    super(
      limit === "flush.max_pending"
        ? `${queuedBytes} bytes wait for their flush (${limit} is ${queuedBytesMax}) and none was freed in ${waitedMs} ms`
        : `${queuedBytes} bytes wait for their upload (${limit} is ${queuedBytesMax}) and none was freed in ${waitedMs} ms: is the store away, or slower than the producers?`,
    );
    this.queuedBytes = queuedBytes;
    this.queuedBytesMax = queuedBytesMax;
  }

  override data(): Record<string, unknown> {
    return { queuedBytes: this.queuedBytes, queuedBytesMax: this.queuedBytesMax };
  }
}

/** Another writer took the shard over. Final for this handle. */
export class FencedError extends TierlogError {
  readonly kind = "fenced";
  readonly code = "TIERLOG_FENCED";
  readonly shard: number;
  /** 0: this process never owned the shard. */
  readonly localEpoch: number;
  readonly currentEpoch: number;

  constructor(shard: number, localEpoch: number, currentEpoch: number, owner: string, options?: Options) {
    super(
      `shard ${shard} was taken over by ${owner} with epoch ${currentEpoch} (ours ${localEpoch === 0 ? "was never live" : `was ${localEpoch}`}); ` +
        "open a new engine only if this process should own the shard",
      options,
    );
    this.shard = shard;
    this.localEpoch = localEpoch;
    this.currentEpoch = currentEpoch;
  }

  override data(): Record<string, unknown> {
    return { shard: this.shard, localEpoch: this.localEpoch, currentEpoch: this.currentEpoch };
  }
}

/** Bytes fail a check. They are never served. */
export class CorruptionError extends TierlogError {
  readonly kind = "data";
  readonly code = "TIERLOG_CORRUPTION";
  readonly key: string;
  /** Byte position within the object (or the buffer) where the check failed. */
  readonly position: number;

  constructor(key: string, position: number, problem: string, options?: Options) {
    super(`${key} at byte ${position}: ${problem}`, options);
    this.key = key;
    this.position = position;
  }

  override data(): Record<string, unknown> {
    return { key: this.key, position: this.position };
  }
}

/** A format, codec or feature that this version does not read. Nothing was changed. */
export class UnsupportedVersionError extends TierlogError {
  readonly kind = "data";
  readonly code = "TIERLOG_UNSUPPORTED_VERSION";
  readonly format: string;
  readonly found: string;
  readonly supported: string;

  constructor(format: string, found: string | number, supported: string | number) {
    const newer = typeof found === "number" && typeof supported === "number" && found > supported;
    const advice = newer ? "; a newer tierlog wrote it: use that version" : "";
    super(`${format}: found ${found}, this version supports ${supported}${advice}`);
    this.format = format;
    this.found = String(found);
    this.supported = String(supported);
  }

  override data(): Record<string, unknown> {
    return { format: this.format, found: this.found, supported: this.supported };
  }
}

/** An object that the chain names is not in the store. */
export class MissingObjectError extends TierlogError {
  readonly kind = "data";
  readonly code = "TIERLOG_MISSING_OBJECT";
  readonly key: string;
  readonly referredToBy: string;

  constructor(key: string, referredToBy: string) {
    super(`${key} is missing, but ${referredToBy} names it`);
    this.key = key;
    this.referredToBy = referredToBy;
  }

  override data(): Record<string, unknown> {
    return { key: this.key, referredToBy: this.referredToBy };
  }
}

/** The disk under the journal has no room. Reads go on, and so do appends as soon as there is room again. */
export class DiskFullError extends TierlogError {
  readonly kind = "unavailable";
  readonly code = "TIERLOG_DISK_FULL";
  readonly path: string;

  constructor(path: string, problem: string, options?: Options) {
    super(`${path}: ${problem}; free space on its disk`, options);
    this.path = path;
  }

  override data(): Record<string, unknown> {
    return { path: this.path };
  }
}

/** The local disk failed. What it failed on is never written again, and nothing was acknowledged from it. */
export class StorageIoError extends TierlogError {
  readonly kind = "unavailable";
  readonly code = "TIERLOG_STORAGE_IO";
  readonly operation: string;
  readonly path: string;

  constructor(operation: string, path: string, options?: Options) {
    const reason = options?.cause instanceof Error ? `: ${options.cause.message}` : "";
    super(`${operation} of ${path} failed${reason}`, options);
    this.operation = operation;
    this.path = path;
  }

  override data(): Record<string, unknown> {
    return { operation: this.operation, path: this.path };
  }
}

/** Another process uses this directory. */
export class LockHeldError extends TierlogError {
  readonly kind = "unavailable";
  readonly code = "TIERLOG_LOCK_HELD";
  readonly path: string;
  /** As its holder wrote them; undefined where that could not be read. */
  readonly holder: { readonly pid: number; readonly host: string } | undefined;

  constructor(path: string, holder: { readonly pid: number; readonly host: string } | undefined) {
    const who = holder === undefined ? "another process" : `process ${holder.pid} on ${holder.host}`;
    super(
      `${path} is used by ${who}: one process at a time may write there; stop it, or choose another system.journal.path`,
    );
    this.path = path;
    this.holder = holder;
  }

  override data(): Record<string, unknown> {
    return { path: this.path, holder: this.holder };
  }
}

/** The handle is closed. */
export class ClosedError extends TierlogError {
  readonly kind = "closed";
  readonly code = "TIERLOG_CLOSED";
  readonly resource: string;

  constructor(resource: string, options?: Options) {
    super(`${resource} is closed`, options);
    this.resource = resource;
  }

  override data(): Record<string, unknown> {
    return { resource: this.resource };
  }
}

/** The caller's AbortSignal fired; `cause` is its reason. */
export class AbortedError extends TierlogError {
  readonly kind = "aborted";
  readonly code = "TIERLOG_ABORTED";

  constructor(operation: string, options?: Options) {
    super(`${operation} was aborted`, options);
    this.name = "AbortError";
  }
}

/** A bug of tierlog. */
export class InvariantError extends TierlogError {
  readonly kind = "internal";
  readonly code = "TIERLOG_INVARIANT";
}

/** Is this one of ours? Works across copies of the package. */
export function isTierlogError(error: unknown): error is TierlogError {
  return (
    error instanceof Error &&
    "code" in error &&
    typeof error.code === "string" &&
    error.code.startsWith("TIERLOG_") &&
    "kind" in error
  );
}

/** Any thrown value as one of ours, so that callers see a single shape. */
export function asTierlogError(error: unknown): TierlogError {
  if (isTierlogError(error)) return error;
  return new InvariantError(error instanceof Error ? error.message : String(error), {
    cause: error,
    effect: "unknown",
  });
}

function printable(value: unknown): unknown {
  if (typeof value === "string") return value.length > 200 ? `${value.slice(0, 200)}…` : value;
  if (typeof value === "number") return Number.isFinite(value) ? value : String(value);
  if (typeof value === "boolean" || value === null) return value;
  if (typeof value === "bigint") return String(value);
  return typeof value;
}
