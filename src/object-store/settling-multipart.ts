import type { ObjectKey } from "../domain.ts";
import { InvariantError, ObjectStoreError, isTierlogError } from "../errors.ts";
import { checkParts, totalBytes } from "./multipart.ts";
import type { BodyOptions, CompleteOutcome, MultipartUpload, ObjectStore, UploadedPart } from "./object-store.ts";
import { RetriedCall, isRetryable, retried, type RetrySettings } from "./retry.ts";

/**
 * An upload whose calls are retried and settled.
 *
 * - putPart, listParts and abort are repeated like reads: twice is as good as once.
 * - `complete` answers "completed" after a clean 200, or after an object of the right size was found under the key (the name is
 *   unique, and every part was acknowledged). While nothing is found there and the upload exists, the same parts are named again.
 *   An upload that is gone without its object is an error, not retryable: only a new upload, from the source, makes the object.
 *   As with a put, effect "none" says that no attempt was left in doubt. Never "gone".
 */
export function settlingUpload(inner: ObjectStore, upload: MultipartUpload, settings: RetrySettings): MultipartUpload {
  const { key } = upload;

  async function complete(parts: readonly UploadedPart[], signal: AbortSignal | undefined): Promise<CompleteOutcome> {
    checkParts(parts);
    const call = new RetriedCall(settings, "completeMultipart", key, signal);
    for (;;) {
      const sent = await send(call, parts);
      if (sent.kind === "completed") return sent;
      if (sent.kind === "not-sent") {
        await call.pause(sent.error);
        continue;
      }
      call.checkDeadline(sent.error);
      if (await isThere(call, totalBytes(parts))) return { kind: "completed" };
      if (sent.kind === "gone") throw call.failure(sent.error);
      if (await isGone(call)) {
        // Looked at again: the object may have come, and the upload gone, between the two looks.
        if (await isThere(call, totalBytes(parts))) return { kind: "completed" };
        throw call.failure(goneUnmade(key, upload.uploadId));
      }
      await call.pause(sent.error);
    }
  }

  async function isThere(call: RetriedCall, sizeBytes: number): Promise<boolean> {
    const found = await retried(call, (signal) => inner.head(key, { signal }));
    if (found === undefined) return false;
    if (found.sizeBytes !== sizeBytes) throw call.failure(nameTaken(key, found.sizeBytes, sizeBytes));
    const { attempts } = call;
    settings.logger?.info("an upload completed without a clear answer was found stored", { key, attempts });
    return true;
  }

  /** Ceph answers 500, for ever, to the completion of an upload that is gone; only a look at its parts tells. */
  async function isGone(call: RetriedCall): Promise<boolean> {
    try {
      return (await call.attempt((signal) => upload.listParts({ signal }))) === undefined;
    } catch {
      // Not known, so not gone: it costs one more completion, while a store that lists no parts can still make the object.
      return false;
    }
  }

  async function putPart(
    partNumber: number,
    body: Uint8Array,
    options: BodyOptions | undefined,
  ): Promise<UploadedPart> {
    const call = new RetriedCall(settings, "uploadPart", key, options?.signal);
    for (;;) {
      try {
        return await call.attemptPart((signal) => upload.putPart(partNumber, body, { ...options, signal }));
      } catch (error) {
        await call.pause(error);
      }
    }
  }

  /** One attempt. Throws what ends the call. "not-sent": nothing can have come of this attempt. */
  async function send(
    call: RetriedCall,
    parts: readonly UploadedPart[],
  ): Promise<
    { readonly kind: "completed" } | { readonly kind: "gone" | "not-sent" | "unknown"; readonly error: unknown }
  > {
    try {
      const outcome = await call.attempt((signal) => upload.complete(parts, { signal }));
      return outcome.kind === "completed" ? outcome : { kind: "gone", error: goneUnmade(key, upload.uploadId) };
    } catch (error) {
      const sent = !isTierlogError(error) || error.effect === "unknown";
      if (sent) call.effect = "unknown";
      if (!isRetryable(error)) throw call.failure(error);
      return { kind: sent ? "unknown" : "not-sent", error };
    }
  }

  return {
    key,
    uploadId: upload.uploadId,
    putPart,
    listParts: (options) =>
      retried(new RetriedCall(settings, "listParts", key, options?.signal), (signal) =>
        upload.listParts({ ...options, signal }),
      ),
    complete: (parts, options) => complete(parts, options?.signal),
    abort: (options) =>
      retried(new RetriedCall(settings, "abortMultipart", key, options?.signal), (signal) => upload.abort({ signal })),
  };
}

function goneUnmade(key: ObjectKey, uploadId: string): ObjectStoreError {
  return new ObjectStoreError(
    `completeMultipart ${key}: the store does not know upload ${uploadId} any more (a lifecycle rule may have ended it), ` +
      "and there is no object: upload again from the source",
    { operation: "completeMultipart", key, status: 404, retryable: false },
  );
}

function nameTaken(key: ObjectKey, foundBytes: number, expectedBytes: number): InvariantError {
  return new InvariantError(
    `completeMultipart ${key}: an object of ${foundBytes} bytes lies where ours of ${expectedBytes} bytes belongs: the name was used twice`,
  );
}
