import type { Config } from "../config/config.ts";
import type { S3ClientSettings } from "../object-store/s3-client.ts";

/** Sockets for reads of data objects, beside those of the parts. */
const READ_SOCKETS = 32;

/**
 * Parts in memory, and so on their way, over all uploads of one engine: one upload may have all its parts on the wire while others fill
 * their next one.
 */
export function uploadPartsMax(partsInFlight: number): number {
  return 2 * partsInFlight;
}

/** What the config says about the bucket, as the object-store room takes it. */
export function s3Settings(config: Config): S3ClientSettings & { readonly bucket: string; readonly prefix: string } {
  const { object } = config.storage;
  const { bucket, region, endpoint, prefix, credentials, forcePathStyle, createIfAbsent } = object;
  const { requestTimeoutMs, partsInFlight } = object;
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
