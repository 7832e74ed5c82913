import type { Config, EncryptionConfig } from "../config/config.ts";
import { readCustomerKey } from "../config/read-customer-key.ts";
import type { S3ClientSettings } from "../object-store/s3-client.ts";
import type { S3Encryption } from "../object-store/s3-encryption.ts";

/** Sockets for reads of data objects, beside those of the parts. */
const READ_SOCKETS = 32;

/**
 * Parts in memory, and so on their way, over all uploads of one engine: one upload may have all its parts on the wire while others fill
 * their next one.
 */
export function uploadPartsMax(partsInFlight: number): number {
  return 2 * partsInFlight;
}

export type BucketSettings = S3ClientSettings & { readonly bucket: string; readonly prefix: string };

/** What the config says about the bucket, as the object-store room takes it. `ConfigError` where a file that it names cannot be used. */
export async function s3Settings(config: Config): Promise<BucketSettings> {
  const { object } = config.storage;
  const { bucket, region, endpoint, prefix, credentials, forcePathStyle, createIfAbsent } = object;
  const { requestTimeoutMs, partsInFlight } = object;
  const encryption = await s3Encryption(object.encryption);
  return {
    bucket,
    region,
    prefix,
    forcePathStyle,
    createIfAbsent,
    requestTimeoutMs,
    // No part waits for a socket: the time of its attempt runs meanwhile.
    maxSockets: uploadPartsMax(partsInFlight) + READ_SOCKETS,
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(encryption === undefined ? {} : { encryption }),
    ...(credentials === undefined
      ? {}
      : {
          credentials: {
            accessKeyId: credentials.accessKeyId,
            secretAccessKey: credentials.secretAccessKey.reveal(),
            ...(credentials.sessionToken === undefined ? {} : { sessionToken: credentials.sessionToken.reveal() }),
          },
        }),
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
