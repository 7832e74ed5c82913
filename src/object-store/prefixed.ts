import type { ObjectKey } from "../domain.ts";
import { InvalidArgumentError } from "../errors.ts";
import { KEY_BYTES_MAX, checkKey } from "./object-key.ts";
import type { ListOptions, ObjectInfo, ObjectStore } from "./object-store.ts";

/**
 * What of `inner` lies below `prefix` and a slash, as a store of its own: keys neither have nor need the prefix, and nothing beside
 * it can be reached. Errors name keys as `inner` knows them. Closing it closes `inner`. An empty prefix gives `inner` itself.
 */
export function prefixed(inner: ObjectStore, prefix: string): ObjectStore {
  if (prefix === "") return inner;
  const before = `${prefix}/`;
  const bytesMax = KEY_BYTES_MAX - Buffer.byteLength(before, "utf8");
  if (bytesMax < 1) throw new InvalidArgumentError("prefix", prefix, "leaves no room for a key");
  const full = (key: ObjectKey): ObjectKey => {
    checkKey(key, bytesMax);
    return (before + key) as ObjectKey;
  };

  return {
    get: async (key, options) => inner.get(full(key), options),
    async head(key, options) {
      const info = await inner.head(full(key), options);
      return info && { ...info, key };
    },
    put: async (key, body, options) => inner.put(full(key), body, options),
    async createMultipart(key, options) {
      const upload = await inner.createMultipart(full(key), options);
      return {
        key,
        uploadId: upload.uploadId,
        putPart: (partNumber, body, partOptions) => upload.putPart(partNumber, body, partOptions),
        listParts: (listOptions) => upload.listParts(listOptions),
        complete: (parts, completeOptions) => upload.complete(parts, completeOptions),
        abort: (abortOptions) => upload.abort(abortOptions),
      };
    },
    async *list(below: string, options?: ListOptions): AsyncGenerator<ObjectInfo> {
      const startAfter = options?.startAfter;
      const listed = inner.list(before + below, {
        ...options,
        ...(startAfter === undefined ? {} : { startAfter: (before + startAfter) as ObjectKey }),
      });
      for await (const info of listed) yield { ...info, key: info.key.slice(before.length) as ObjectKey };
    },
    delete: async (keys, options) => inner.delete(keys.map(full), options),
    close: () => inner.close(),
  };
}
