import type { Config } from "../config/config.ts";
import type { S3ClientSettings } from "../object-store/s3-client.ts";

/** Sockets of one engine: parts and reads share them. */
const SOCKETS_MAX = 64;

/** What the config says about the bucket, as the object-store room takes it. */
export function s3Settings(config: Config): S3ClientSettings & { readonly bucket: string; readonly prefix: string } {
  const { bucket, region, endpoint, prefix, credentials, forcePathStyle, createIfAbsent, requestTimeoutMs } =
    config.storage.object;
  return {
    bucket,
    region,
    prefix,
    forcePathStyle,
    createIfAbsent,
    requestTimeoutMs,
    maxSockets: SOCKETS_MAX,
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
