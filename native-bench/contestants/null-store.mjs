import { createMemoryStore } from "../../dist/index.js";

/** Enough for the engine to see whose index file it found. */
const KEPT_BYTES = 4096;
const KEPT_OBJECTS = 1000;

/**
 * A store within this process that takes every log for nothing and forgets its bytes: for rows that measure what comes before the
 * store. The engine's other objects are kept.
 */
export function createNullStore() {
  const small = createMemoryStore();
  const logs = new Map();
  let generation = 0;
  const isLog = (key) => key.startsWith("index/") || key.startsWith("data/");
  const nextETag = () => `null-${++generation}`;
  const keep = (key, body, sizeBytes) => {
    const etag = nextETag();
    logs.set(key, { etag, sizeBytes, kept: Buffer.from(body.subarray(0, KEPT_BYTES)) });
    if (logs.size > KEPT_OBJECTS) logs.delete(logs.keys().next().value);
    return etag;
  };

  return {
    async get(key, options) {
      if (!isLog(key)) return small.get(key, options);
      const found = logs.get(key);
      if (found === undefined) return undefined;
      const { start = 0, end = found.sizeBytes } = options?.range ?? {};
      const body = Buffer.alloc(Math.max(0, Math.min(end, found.sizeBytes) - start));
      body.set(found.kept.subarray(start, end).subarray(0, body.length));
      return { body, sizeBytes: found.sizeBytes, etag: found.etag };
    },
    async head(key, options) {
      if (!isLog(key)) return small.head(key, options);
      const found = logs.get(key);
      return found === undefined ? undefined : { key, sizeBytes: found.sizeBytes, etag: found.etag };
    },
    async put(key, body, options) {
      if (!isLog(key)) return small.put(key, body, options);
      if (options.condition.kind === "if-absent" && logs.has(key)) return { kind: "condition-failed" };
      return { kind: "written", etag: keep(key, body, body.length) };
    },
    async createMultipart(key) {
      let sizeBytes = 0;
      return {
        key,
        uploadId: `null-${++generation}`,
        async putPart(partNumber, body) {
          sizeBytes += body.length;
          return { partNumber, etag: nextETag(), sizeBytes: body.length };
        },
        listParts: async () => [],
        async complete() {
          keep(key, Buffer.alloc(0), sizeBytes);
          return { kind: "completed" };
        },
        abort: async () => undefined,
      };
    },
    list: (prefix, options) => small.list(prefix, options),
    delete: (keys, options) =>
      small.delete(
        keys.filter((key) => !isLog(key)),
        options,
      ),
    close: () => small.close(),
  };
}
