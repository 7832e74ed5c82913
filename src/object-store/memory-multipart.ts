import type { ETag, ObjectKey } from "../domain.ts";
import { checkPartNumber, checkParts, matchParts, totalBytes, uploadGone } from "./multipart.ts";
import type { MultipartUpload } from "./object-store.ts";

interface HeldPart {
  readonly partNumber: number;
  readonly etag: ETag;
  readonly sizeBytes: number;
  readonly bytes: Uint8Array;
}

/** The uploads under way in a memory bucket. */
export class MemoryUploads {
  readonly #open = new Map<string, Map<number, HeldPart>>();
  #started = 0;
  #parts = 0;

  /** Uploads neither completed nor aborted. */
  get size(): number {
    return this.#open.size;
  }

  /** `enter` is run first in every call; `write` makes the object of bytes that are its own. */
  start(
    key: ObjectKey,
    enter: (operation: string, signal: AbortSignal | undefined) => void,
    write: (bytes: Uint8Array) => void,
  ): MultipartUpload {
    this.#started += 1;
    const uploadId = `upload-${this.#started}`;
    this.#open.set(uploadId, new Map());
    const parts = (): Map<number, HeldPart> | undefined => this.#open.get(uploadId);

    return {
      key,
      uploadId,

      putPart: async (partNumber, body, options) => {
        checkPartNumber(partNumber);
        enter("uploadPart", options?.signal);
        const held = parts();
        if (held === undefined) throw uploadGone(key);
        this.#parts += 1;
        const etag = `part-${this.#parts}` as ETag;
        held.set(partNumber, { partNumber, etag, sizeBytes: body.length, bytes: new Uint8Array(body) });
        return { partNumber, etag, sizeBytes: body.length };
      },

      listParts: async (options) => {
        enter("listParts", options?.signal);
        options?.onRequest?.();
        const held = parts();
        if (held === undefined) return undefined;
        return [...held.values()]
          .map(({ partNumber, etag, sizeBytes }) => ({ partNumber, etag, sizeBytes }))
          .sort((a, b) => a.partNumber - b.partNumber);
      },

      complete: async (named, options) => {
        checkParts(named);
        enter("completeMultipart", options?.signal);
        const held = parts();
        if (held === undefined) return { kind: "gone" };
        const matched = matchParts(key, named, held);
        const whole = new Uint8Array(totalBytes(matched));
        let position = 0;
        for (const { bytes } of matched) {
          whole.set(bytes, position);
          position += bytes.length;
        }
        write(whole);
        this.#open.delete(uploadId);
        return { kind: "completed" };
      },

      abort: async (options) => {
        enter("abortMultipart", options?.signal);
        this.#open.delete(uploadId);
      },
    };
  }
}
