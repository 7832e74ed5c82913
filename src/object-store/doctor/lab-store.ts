import type { ObjectKey } from "../../domain.ts";
import type { MultipartUpload, ObjectStore } from "../object-store.ts";

/** What a run wrote and must take away. */
export interface Traces {
  readonly keys: Set<ObjectKey>;
  readonly uploads: Set<MultipartUpload>;
}

/** Notes every key and upload before it is sent: an answer may be lost, the object not. */
export function traced(inner: ObjectStore, traces: Traces): ObjectStore {
  return {
    ...inner,
    put(key, body, options) {
      traces.keys.add(key);
      return inner.put(key, body, options);
    },
    async createMultipart(key, options) {
      traces.keys.add(key);
      const upload = await inner.createMultipart(key, options);
      traces.uploads.add(upload);
      return {
        key: upload.key,
        uploadId: upload.uploadId,
        putPart: (partNumber, body, partOptions) => upload.putPart(partNumber, body, partOptions),
        listParts: (listOptions) => upload.listParts(listOptions),
        async complete(parts, completeOptions) {
          const outcome = await upload.complete(parts, completeOptions);
          traces.uploads.delete(upload);
          return outcome;
        },
        async abort(abortOptions) {
          await upload.abort(abortOptions);
          traces.uploads.delete(upload);
        },
      };
    },
  };
}

/** Every call ends with `signal`, whatever else ends it. For callers that give none of their own. */
export function endedBy(inner: ObjectStore, signal: AbortSignal): ObjectStore {
  return {
    get: (key, options) => inner.get(key, { ...options, signal }),
    head: (key, options) => inner.head(key, { ...options, signal }),
    put: (key, body, options) => inner.put(key, body, { ...options, signal }),
    list: (prefix, options) => inner.list(prefix, { ...options, signal }),
    delete: (keys, options) => inner.delete(keys, { ...options, signal }),
    close: () => inner.close(),
    async createMultipart(key, options) {
      const upload = await inner.createMultipart(key, { ...options, signal });
      return {
        key: upload.key,
        uploadId: upload.uploadId,
        putPart: (partNumber, body, partOptions) => upload.putPart(partNumber, body, { ...partOptions, signal }),
        listParts: (listOptions) => upload.listParts({ ...listOptions, signal }),
        complete: (parts, completeOptions) => upload.complete(parts, { ...completeOptions, signal }),
        abort: (abortOptions) => upload.abort({ ...abortOptions, signal }),
      };
    },
  };
}
