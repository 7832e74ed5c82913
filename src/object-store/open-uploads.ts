import {
  AbortMultipartUploadCommand,
  ListMultipartUploadsCommand,
  type ListMultipartUploadsOutput,
} from "@aws-sdk/client-s3";

import { ObjectStoreError } from "../errors.ts";
import type { S3Wire } from "./probe/s3-wire.ts";
import { RetriedCall, retried, type RetrySettings } from "./retry.ts";

/** Answers of a store that has no such request, or does not allow it. */
const UNASKABLE: ReadonlySet<number | undefined> = new Set([403, 405, 501]);

/**
 * Ends every multipart upload that is open below `prefix`, whoever began it; resolves to their number, undefined where the store does
 * not tell of them or does not let them be ended. One request per upload, and one per page of them. `ObjectStoreError`.
 */
export async function abortOpenUploads(
  wire: S3Wire,
  prefix: string,
  retries: RetrySettings,
  signal: AbortSignal | undefined,
): Promise<number | undefined> {
  const send = async <T>(
    operation: "list" | "abortMultipart",
    key: string,
    command: object,
  ): Promise<T | undefined> => {
    try {
      return await retried(new RetriedCall(retries, operation, key, signal), async () => {
        const { output, error, code } = await wire.send<T>(operation, key, command as never);
        // Somebody else ended it.
        if (error !== undefined && code !== "NoSuchUpload" && code !== "NoSuchKey") throw error;
        return output ?? ({} as T);
      });
    } catch (error) {
      if (error instanceof ObjectStoreError && UNASKABLE.has(error.status)) return undefined;
      throw error;
    }
  };

  let count = 0;
  let marker: { readonly KeyMarker: string; readonly UploadIdMarker: string | undefined } | undefined;
  for (;;) {
    const input = { Bucket: wire.bucket, Prefix: wire.fullKey(prefix), ...marker };
    const page = await send<ListMultipartUploadsOutput>("list", prefix, new ListMultipartUploadsCommand(input));
    if (page === undefined) return undefined;
    for (const { Key, UploadId } of page.Uploads ?? []) {
      // Nobody else's, whatever the store lists.
      if (Key?.startsWith(input.Prefix) !== true || UploadId === undefined) continue;
      const aborted = await send(
        "abortMultipart",
        Key,
        new AbortMultipartUploadCommand({ Bucket: wire.bucket, Key, UploadId }),
      );
      if (aborted === undefined) return undefined;
      count += 1;
    }
    if (page.IsTruncated !== true || page.NextKeyMarker === undefined) return count;
    if (page.NextKeyMarker === marker?.KeyMarker && page.NextUploadIdMarker === marker.UploadIdMarker) return count;
    marker = { KeyMarker: page.NextKeyMarker, UploadIdMarker: page.NextUploadIdMarker };
  }
}
