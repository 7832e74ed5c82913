import type { ObjectKey } from "../domain.ts";
import { ObjectStoreError, asTierlogError } from "../errors.ts";
import { crc32cInSteps } from "./crc32c-in-steps.ts";
import { totalBytes } from "./multipart.ts";
import type {
  ByteRange,
  CallOptions,
  MultipartUpload,
  ObjectStore,
  StoredObject,
  UploadedPart,
} from "./object-store.ts";

/**
 * Reads every object once after it was written, and compares: for a way to the store on which nobody checks the bytes. Costs a GET
 * per put and one per part of an upload, and memory for one of them. Sits above the settling wrapper, so that an object which that
 * one only found stored is read too, and so that the reads are retried.
 *
 * A put answers "written", a `complete` "completed", only after equal bytes were read. Else they throw with effect "unknown": an
 * `ObjectStoreError`, not retryable, where the store holds other bytes (which stay there); the error of the read where there is one.
 *
 * `needed` is asked for each object. REQUIRES: nobody else writes to its key.
 */
export function readingBack(inner: ObjectStore, needed: () => boolean): ObjectStore {
  async function read(
    operation: string,
    key: ObjectKey,
    range: ByteRange | undefined,
    options: CallOptions | undefined,
  ): Promise<StoredObject> {
    const signal = options?.signal;
    let stored: StoredObject | undefined;
    try {
      stored = await inner.get(key, {
        ...(range === undefined ? {} : { range }),
        ...(signal === undefined ? {} : { signal }),
      });
    } catch (error) {
      throw asTierlogError(error).withEffect("unknown");
    }
    if (stored === undefined) throw damaged(operation, key, "nothing is there");
    return stored;
  }

  function checked(upload: MultipartUpload): MultipartUpload {
    const { key } = upload;
    /** By part number, of the bytes that were acknowledged last. */
    const crcs = new Map<number, number>();
    return {
      ...upload,
      async putPart(partNumber, body, options) {
        const part = await upload.putPart(partNumber, body, options);
        crcs.set(partNumber, options?.crc32c ?? (await crc32cInSteps(body)));
        return part;
      },
      async complete(parts, options) {
        const outcome = await upload.complete(parts, options);
        if (outcome.kind === "completed") await checkParts(key, parts, crcs, options);
        return outcome;
      },
    };
  }

  async function checkParts(
    key: ObjectKey,
    parts: readonly UploadedPart[],
    crcs: ReadonlyMap<number, number>,
    options: CallOptions | undefined,
  ): Promise<void> {
    const sizeBytes = totalBytes(parts);
    let start = 0;
    for (const part of parts) {
      const end = start + part.sizeBytes;
      const stored = await read("completeMultipart", key, { start, end }, options);
      if (stored.sizeBytes !== sizeBytes || (await crc32cInSteps(stored.body)) !== crcs.get(part.partNumber)) {
        throw damaged("completeMultipart", key, `part ${part.partNumber}, bytes ${start} … ${end - 1}, differs`);
      }
      start = end;
    }
  }

  return {
    ...inner,
    async put(key, body, options) {
      const check = needed();
      const outcome = await inner.put(key, body, options);
      if (!check || outcome.kind !== "written") return outcome;
      const stored = await read("put", key, undefined, options);
      if (Buffer.compare(stored.body, body) !== 0) {
        throw damaged("put", key, `${stored.body.length} bytes, where ${body.length} were sent`);
      }
      return outcome;
    },
    async createMultipart(key, options) {
      const check = needed();
      const upload = await inner.createMultipart(key, options);
      return check ? checked(upload) : upload;
    },
  };
}

function damaged(operation: string, key: ObjectKey, problem: string): ObjectStoreError {
  return new ObjectStoreError(
    `${operation} ${key}: the store holds other bytes than were sent (${problem}), and nothing on the way checks them: ` +
      'set payload_signing to "signed", or look for what changes them',
    { operation, key, retryable: false },
    { effect: "unknown" },
  );
}
