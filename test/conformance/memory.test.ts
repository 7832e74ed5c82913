import { MemoryBucket, createMemoryStore } from "../../src/object-store/memory-store.ts";
import { KEY_BYTES_MAX } from "../../src/object-store/object-key.ts";
import { describeObjectStore } from "./object-store.ts";

describeObjectStore("memory", async () => {
  const bucket = new MemoryBucket();
  return { store: createMemoryStore(bucket), other: createMemoryStore(bucket), keyBytesMax: KEY_BYTES_MAX };
});
