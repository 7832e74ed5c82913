import { MemoryBucket, createMemoryStore } from "../../src/object-store/memory-store.ts";
import { KEY_BYTES_MAX } from "../../src/object-store/object-key.ts";
import type { StoreUnderTest } from "../../src/testing/conformance/conformance-case.ts";
import { describeConformance } from "./describe-conformance.ts";
import { describeMultipartWriter } from "./multipart-writer.ts";

async function makeStore(): Promise<StoreUnderTest> {
  const bucket = new MemoryBucket();
  return { store: createMemoryStore(bucket), other: createMemoryStore(bucket), keyBytesMax: KEY_BYTES_MAX };
}

describeConformance("memory", makeStore);
describeMultipartWriter("memory", makeStore);
