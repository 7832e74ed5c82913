import { resolve } from "node:path";

import { ConfigError, type ConfigIssue } from "../errors.ts";
import { applyPreset } from "./apply-preset.ts";
import type { Config, CredentialsConfig, EncryptionConfig, JournalConfig } from "./config.ts";
import type { ConfigValue, KeyType } from "./key-type.ts";
import { CONFIG_KEYS, keyAt } from "./keys.ts";
import { overrideSettings, type ConfigOverrides } from "./override-settings.ts";
import type { CreateIfAbsentHeader } from "./provider-presets.ts";
import type { Parsed } from "./quantity.ts";
import { idleSettings, relationIssues } from "./relations.ts";
import { Secret } from "./secret.ts";
import type { Setting, Settings } from "./setting.ts";

export interface ResolvedConfig {
  readonly config: Config;
  /** Where the value of each key comes from: "default", "provider preset", or the `source` of the setting that won. */
  readonly sources: ReadonlyMap<string, string>;
  /** What works, but should be known: sentences. */
  readonly warnings: readonly string[];
}

/** The defaults with some fields replaced, for programs; checked like a file. A relative path counts from the working directory. */
export function defaultConfig(overrides: ConfigOverrides = {}): Config {
  const directory = resolve(".");
  return resolveConfig([overrideSettings(overrides, directory)], directory).config;
}

/**
 * One configuration out of several places, the weakest first. Every value is checked, also one that a stronger place replaces;
 * `ConfigError` carries every problem found. An `access_key_id` starts a new identity: it drops the secret, the token and the
 * `profile` of weaker places. So does a `profile`, with all three keys.
 */
export function resolveConfig(layers: readonly Settings[], defaultDirectory: string): ResolvedConfig {
  const issues = layers.flatMap((layer) => layer.issues);
  const values = new Map<string, ConfigValue>();
  const sources = new Map<string, string>();
  const broken = new Set<string>();

  for (const key of CONFIG_KEYS) {
    sources.set(key.path, "default");
    if (key.default !== undefined) values.set(key.path, key.default);
  }
  values.set("system.path", resolve(defaultDirectory, String(values.get("system.path"))));

  const problems = new Map<string, ConfigIssue[]>();
  for (const { settings } of layers) {
    const dropped = [
      ...(settings.some(({ path }) => path === ACCESS_KEY_ID) ? [SECRET_ACCESS_KEY, SESSION_TOKEN, PROFILE] : []),
      ...(settings.some(({ path }) => path === PROFILE) ? [ACCESS_KEY_ID, SECRET_ACCESS_KEY, SESSION_TOKEN] : []),
    ];
    for (const path of dropped) {
      values.delete(path);
      broken.delete(path);
      sources.set(path, "default");
    }
    for (const setting of settings) {
      const key = keyAt(setting.path);
      if (key === undefined) continue;
      const parsed = readSetting(key.type, setting);
      sources.set(key.path, setting.source);
      if (parsed.ok) {
        const value = key.type.path === true ? resolve(setting.directory, String(parsed.value)) : parsed.value;
        values.set(key.path, value);
        broken.delete(key.path);
      } else {
        values.delete(key.path);
        broken.add(key.path);
        const found = problems.get(key.path) ?? [];
        problems.set(key.path, [...found, { path: key.path, problem: parsed.problem }]);
      }
    }
  }

  issues.push(...CONFIG_KEYS.flatMap((key) => problems.get(key.path) ?? []));
  const missing = applyPreset(values, sources, broken);
  if (values.get("system.storage.kind") === "object") issues.push(...missing);
  issues.push(...relationIssues(values, broken));
  if (issues.length > 0) throw new ConfigError(issues.map((issue) => withoutSecrets(issue, layers)));
  return { config: compose(values), sources, warnings: idleSettings(values) };
}

const CUSTOMER_KEY = "system.storage.object.encryption.customer_key";
const ACCESS_KEY_ID = "system.storage.object.access_key_id";
const SECRET_ACCESS_KEY = "system.storage.object.secret_access_key";
const SESSION_TOKEN = "system.storage.object.session_token";
const PROFILE = "system.storage.object.profile";

/** The checked value, or a whole sentence: the value as it was written (unless it is a secret), what is wrong, who said it. */
function readSetting(type: KeyType, setting: Setting): Parsed<ConfigValue> {
  const parsed = parseRaw(type, setting);
  const problem = parsed.ok ? type.check(parsed.value) : parsed.problem;
  if (problem === undefined) return parsed;
  const shown = type.secret ? "the value" : describe(type, setting);
  // Of a file and of a program the reader knows where to look; a variable may be set far away.
  const known = setting.form === "value" || setting.source.startsWith("file ");
  const origin = known ? "" : `, set by ${setting.source}`;
  return { ok: false, problem: `${shown} ${problem}${origin}` };
}

function parseRaw(type: KeyType, { raw, form }: Setting): Parsed<ConfigValue> {
  if (form === "value") return type.accept(raw);
  return form === "text" && typeof raw === "string" ? type.parseText(raw) : type.parse(raw);
}

function describe(type: KeyType, { raw, form }: Setting): string {
  if (form === "value") {
    const accepted = type.accept(raw);
    if (accepted.ok && typeof accepted.value === "number") return type.show(accepted.value);
  }
  if (typeof raw === "string") {
    // A user name or password in an endpoint, and what a signed URL ends with, are secrets that stand in the wrong place.
    if (/:(\/\/)?[^/]*@|:\/\/.*[?#]/.test(raw)) return "the value";
    return JSON.stringify(raw.length > 100 ? `${raw.slice(0, 100)}…` : raw);
  }
  if (typeof raw === "number" || typeof raw === "boolean" || typeof raw === "bigint") return String(raw);
  if (Array.isArray(raw)) return "a list";
  if (raw instanceof Date) return "a date";
  return raw === null ? "null" : `a value of type ${typeof raw === "object" ? "table" : typeof raw}`;
}

/** A secret that was also written to the wrong key must not come out in that key's message. */
function withoutSecrets(issue: ConfigIssue, layers: readonly Settings[]): ConfigIssue {
  let { problem } = issue;
  for (const { path, raw } of layers.flatMap((layer) => layer.settings)) {
    if (path !== SECRET_ACCESS_KEY && path !== SESSION_TOKEN && path !== CUSTOMER_KEY) continue;
    const value = raw instanceof Secret ? raw.reveal() : raw;
    if (typeof value === "string" && value.length >= 8) problem = problem.replaceAll(value, "[redacted]");
  }
  return { path: issue.path, problem };
}

/** `values` passed every check, so that each default or required key is there with its type. */
function compose(values: ReadonlyMap<string, ConfigValue>): Config {
  const text = (path: string): string => values.get(path) as string;
  const number = (path: string): number => values.get(path) as number;
  const object = "system.storage.object";
  const endpoint = values.get(`${object}.endpoint`) as string | undefined;
  const forcePathStyle = values.get(`${object}.force_path_style`) as boolean | undefined;
  return deepFreeze<Config>({
    path: text("system.path"),
    shards: number("system.shards"),
    shutdownTimeoutMs: number("system.shutdown_timeout"),
    storage: {
      kind: text("system.storage.kind") as Config["storage"]["kind"],
      object: {
        service: text(`${object}.service`) as "s3",
        provider: values.get(`${object}.provider`) as string | undefined,
        account: values.get(`${object}.account`) as string | undefined,
        bucket: (values.get(`${object}.bucket`) as string | undefined) ?? "",
        createBucket: values.get(`${object}.create_bucket`) as boolean,
        region: text(`${object}.region`),
        endpoint,
        allowHttp: values.get(`${object}.allow_http`) as boolean,
        tlsCaFile: values.get(`${object}.tls_ca_file`) as string | undefined,
        tlsCertFile: values.get(`${object}.tls_cert_file`) as string | undefined,
        tlsKeyFile: values.get(`${object}.tls_key_file`) as string | undefined,
        prefix: text(`${object}.prefix`),
        multipartPartSizeBytes: number(`${object}.multipart_part_size`),
        partsInFlight: number(`${object}.parts_in_flight`),
        ackAfterUpload: values.get(`${object}.ack_after_upload`) as boolean,
        fencing: text(`${object}.fencing`) as "conditional-put" | "external",
        encryption: {
          mode: text(`${object}.encryption.mode`) as EncryptionConfig["mode"],
          kmsKeyId: values.get(`${object}.encryption.kms_key_id`) as string | undefined,
          bucketKey: values.get(`${object}.encryption.bucket_key`) as boolean,
          customerKey: values.get(CUSTOMER_KEY) as Secret | undefined,
          customerKeyFile: values.get(`${object}.encryption.customer_key_file`) as string | undefined,
        },
        credentials: credentials(values),
        profile: values.get(PROFILE) as string | undefined,
        forcePathStyle: forcePathStyle ?? endpoint !== undefined,
        payloadSigning: text(`${object}.payload_signing`) as Config["storage"]["object"]["payloadSigning"],
        createIfAbsent: text(`${object}.create_if_absent`) as CreateIfAbsentHeader,
        requestTimeoutMs: number(`${object}.request_timeout`),
        deadlineMs: number(`${object}.deadline`),
      },
    },
    flush: {
      lingerMs: number("system.flush.linger"),
      maxBytes: number("system.flush.max_bytes"),
      maxPendingBytes: number("system.flush.max_pending"),
      maxWaitMs: number("system.flush.max_wait"),
    },
    batch: { maxBytes: number("system.batch.max_bytes") },
    index: { checkpointEvery: number("system.index.checkpoint_every") },
    journal: {
      path: (values.get("system.journal.path") as string | undefined) ?? resolve(text("system.path"), "journal"),
      fsync: text("system.journal.fsync") as JournalConfig["fsync"],
      fsyncIntervalMs: number("system.journal.fsync_interval"),
      fileSizeBytes: number("system.journal.file_size"),
      maxSizeBytes: number("system.journal.max_size"),
      uploadIntervalMs: number("system.journal.upload_interval"),
      catchUpRateBytes: number("system.journal.catch_up_rate"),
      oDirect: values.get("system.journal.o_direct") as boolean,
    },
    fence: { leaseMs: number("system.fence.lease") },
    retention: {
      ms: number("system.retention.ms"),
      bytes: number("system.retention.bytes"),
      checkIntervalMs: number("system.retention.check_interval"),
    },
    segment: { sizeBytes: number("system.segment.size"), maxAgeMs: number("system.segment.max_age") },
    merge: {
      enabled: values.get("system.merge.enabled") as boolean,
      maxBytesPerSecond: number("system.merge.max_bytes_per_second"),
      checkIntervalMs: number("system.merge.check_interval"),
    },
    gc: {
      enabled: values.get("system.gc.enabled") as boolean,
      graceMs: number("system.gc.grace"),
      intervalMs: number("system.gc.interval"),
      sweepIntervalMs: number("system.gc.sweep_interval"),
    },
    cache: { tailSizeBytes: number("system.cache.tail_size"), sizeBytes: number("system.cache.size") },
  });
}

function credentials(values: ReadonlyMap<string, ConfigValue>): CredentialsConfig | undefined {
  const accessKeyId = values.get(ACCESS_KEY_ID);
  if (typeof accessKeyId !== "string") return undefined;
  return {
    accessKeyId,
    secretAccessKey: values.get(SECRET_ACCESS_KEY) as Secret,
    sessionToken: values.get(SESSION_TOKEN) as Secret | undefined,
  };
}

function deepFreeze<T extends object>(value: T): T {
  for (const inner of Object.values(value) as unknown[]) {
    if (typeof inner === "object" && inner !== null) deepFreeze(inner);
  }
  return Object.freeze(value);
}
