import type { Config, EncryptionConfig, ObjectConfig } from "../config/config.ts";
import { readCustomerKey } from "../config/read-customer-key.ts";
import { storeUrl } from "../config/s3-names.ts";
import type { S3WireSettings } from "../object-store/probe/s3-wire.ts";
import { proxyFor } from "../object-store/proxy.ts";
import { fixedCredentials, type CredentialsProvider } from "../object-store/s3-credentials.ts";
import type { S3Encryption } from "../object-store/s3-encryption.ts";
import { readTlsFiles } from "../object-store/tls-files.ts";
import type { Runtime } from "../runtime/runtime.ts";

/** Sockets for reads of data objects, beside those of the parts. */
const READ_SOCKETS = 32;

/**
 * Parts in memory, and so on their way, over all uploads of one engine: one upload may have all its parts on the wire while others fill
 * their next one.
 */
export function uploadPartsMax(partsInFlight: number): number {
  return 2 * partsInFlight;
}

/** The bucket of a config, and how it is reached. */
export type S3Settings = S3WireSettings;

/**
 * What the config and the environment say about the bucket, as the object-store room takes it. Once for all clients of an engine:
 * they share the credentials in it. Reads files, asks nobody. Rejects with `ConfigError`.
 */
export async function s3Settings(
  config: Config,
  runtime: Pick<Runtime, "clock" | "logger" | "environment">,
): Promise<S3Settings> {
  const { object } = config.storage;
  const { bucket, region, endpoint, prefix, forcePathStyle, createIfAbsent } = object;
  const { requestTimeoutMs, partsInFlight } = object;
  const encryption = await s3Encryption(object.encryption);
  const proxy = proxyFor(storeUrl(endpoint, region), runtime.environment);
  return {
    bucket,
    region,
    prefix,
    forcePathStyle,
    createIfAbsent,
    requestTimeoutMs,
    checksummed: object.payloadSigning === "unsigned",
    // No part waits for a socket: the time of its attempt runs meanwhile.
    maxSockets: uploadPartsMax(partsInFlight) + READ_SOCKETS,
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(encryption === undefined ? {} : { encryption }),
    ...(proxy === undefined ? {} : { proxy }),
    tls: await readTlsFiles(object),
    credentials: await credentialsOf(object, runtime),
  };
}

async function s3Encryption(config: EncryptionConfig): Promise<S3Encryption | undefined> {
  switch (config.mode) {
    case "none":
      return undefined;
    case "sse-s3":
      return { kind: "sse-s3" };
    case "sse-kms":
      return { kind: "sse-kms", keyId: config.kmsKeyId, bucketKey: config.bucketKey };
    case "sse-c":
      return { kind: "sse-c", key: await readCustomerKey(config) };
  }
}

async function credentialsOf(
  { credentials, profile, region }: ObjectConfig,
  runtime: Pick<Runtime, "clock" | "logger" | "environment">,
): Promise<CredentialsProvider> {
  if (credentials === undefined) {
    const { searchedCredentials } = await import("../object-store/credentials/credential-chain.ts");
    return searchedCredentials({ profile, region }, runtime);
  }
  return fixedCredentials({
    accessKeyId: credentials.accessKeyId,
    secretAccessKey: credentials.secretAccessKey.reveal(),
    ...(credentials.sessionToken === undefined ? {} : { sessionToken: credentials.sessionToken.reveal() }),
  });
}
