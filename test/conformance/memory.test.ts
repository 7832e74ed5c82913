import { MemoryBucket, createMemoryStore } from "../../src/object-store/memory-store.ts";
import { KEY_BYTES_MAX } from "../../src/object-store/object-key.ts";
import { describeMultipartWriter } from "./multipart-writer.ts";
import { describeMultipart } from "./multipart.ts";
import { describeObjectStore, type StoreUnderTest } from "./object-store.ts";

async function makeStore(): Promise<StoreUnderTest> {
  const bucket = new MemoryBucket();
  return { store: createMemoryStore(bucket), other: createMemoryStore(bucket), keyBytesMax: KEY_BYTES_MAX };
}

describeObjectStore("memory", makeStore);
describeMultipart("memory", makeStore);
describeMultipartWriter("memory", makeStore);
