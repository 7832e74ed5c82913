import {
  AbortMultipartUploadCommand,
  ListMultipartUploadsCommand,
  type ListMultipartUploadsOutput,
} from "@aws-sdk/client-s3";

import type { ObjectKey } from "../domain.ts";
import { ObjectStoreError } from "../errors.ts";
import type { S3Wire } from "./probe/s3-wire.ts";
import { RetriedCall, retried, type RetrySettings } from "./retry.ts";

/** Answers of a store that has no such request, or does not allow it. */
const UNASKABLE: ReadonlySet<number | undefined> = new Set([403, 405, 501]);

export interface OpenUpload {
  readonly key: ObjectKey;
  readonly uploadId: string;
  /** By the store's clock; undefined where it does not tell. */
  readonly beganAtMs: number | undefined;
}

/** The multipart uploads that are open in a bucket, whoever began them. */
export class OpenUploads {
  readonly #wire: S3Wire;
  readonly #retries: RetrySettings;

  constructor(wire: S3Wire, retries: RetrySettings) {
    this.#wire = wire;
    this.#retries = retries;
  }

  /**
   * Those below `prefix`; false where the store does not tell of them. One request per page of 1,000. An upload that ends meanwhile may
   * be listed all the same. `onUpload` may abort it. `ObjectStoreError`.
   */
  async each(
    prefix: string,
    onUpload: (upload: OpenUpload) => Promise<boolean> | boolean,
    signal?: AbortSignal,
  ): Promise<boolean> {
    const wire = this.#wire;
    const below = wire.fullKey("");
    let marker: { readonly KeyMarker: string; readonly UploadIdMarker: string | undefined } | undefined;
    for (;;) {
      const input = { Bucket: wire.bucket, Prefix: wire.fullKey(prefix), ...marker };
      const command = new ListMultipartUploadsCommand(input);
      const page = await this.#send<ListMultipartUploadsOutput>("list", prefix, command, signal);
      if (page === undefined) return false;
      for (const { Key, UploadId, Initiated } of page.Uploads ?? []) {
        // Nobody else's, whatever the store lists.
        if (Key?.startsWith(input.Prefix) !== true || UploadId === undefined) continue;
        const key = Key.slice(below.length) as ObjectKey;
        if (!(await onUpload({ key, uploadId: UploadId, beganAtMs: Initiated?.getTime() }))) return false;
      }
      if (page.IsTruncated !== true || page.NextKeyMarker === undefined) return true;
      if (page.NextKeyMarker === marker?.KeyMarker && page.NextUploadIdMarker === marker.UploadIdMarker) return true;
      marker = { KeyMarker: page.NextKeyMarker, UploadIdMarker: page.NextUploadIdMarker };
    }
  }

  /** Ends one, or finds it ended; false where the store does not allow it. `ObjectStoreError`. */
  async abort({ key, uploadId }: Pick<OpenUpload, "key" | "uploadId">, signal?: AbortSignal): Promise<boolean> {
    const command = new AbortMultipartUploadCommand({ ...this.#wire.object(key), UploadId: uploadId });
    return (await this.#send("abortMultipart", key, command, signal)) !== undefined;
  }

  close(): void {
    this.#wire.close();
  }

  async #send<T>(
    operation: "list" | "abortMultipart",
    key: string,
    command: object,
    signal: AbortSignal | undefined,
  ): Promise<T | undefined> {
    try {
      return await retried(new RetriedCall(this.#retries, operation, key, signal), async () => {
        const { output, error, code } = await this.#wire.send<T>(operation, key, command as never);
        // Somebody else ended it.
        if (error !== undefined && code !== "NoSuchUpload" && code !== "NoSuchKey") throw error;
        return output ?? ({} as T);
      });
    } catch (error) {
      if (error instanceof ObjectStoreError && UNASKABLE.has(error.status)) return undefined;
      throw error;
    }
  }
}

/**
 * Ends every multipart upload that is open below `prefix`, whoever began it; resolves to their number, undefined where the store does
 * not tell of them or does not let them be ended. One request per upload, and one per page of them. `ObjectStoreError`.
 */
export async function abortOpenUploads(
  uploads: OpenUploads,
  prefix: string,
  signal: AbortSignal | undefined,
): Promise<number | undefined> {
  let count = 0;
  const ended = await uploads.each(
    prefix,
    async (upload) => {
      if (!(await uploads.abort(upload, signal))) return false;
      count += 1;
      return true;
    },
    signal,
  );
  return ended ? count : undefined;
}
