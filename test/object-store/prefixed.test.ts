import { expect, test } from "vitest";

import type { ObjectKey } from "../../src/domain.ts";
import { MemoryBucket, createMemoryStore } from "../../src/object-store/memory-store.ts";
import { KEY_BYTES_MAX } from "../../src/object-store/object-key.ts";
import { prefixed } from "../../src/object-store/prefixed.ts";
import type { StoreUnderTest } from "../../src/testing/conformance/conformance-case.ts";
import { describeConformance } from "../conformance/describe-conformance.ts";

const PREFIX = "some/prefix";

async function makeStore(): Promise<StoreUnderTest> {
  const bucket = new MemoryBucket();
  // Neighbours that no call may see.
  for (const key of ["some/prefix", "some/prefix0", "some/prefi/x", "some/prefix!/x"]) {
    bucket.write(key as ObjectKey, Buffer.from("theirs"));
  }
  return {
    store: prefixed(createMemoryStore(bucket), PREFIX),
    other: prefixed(createMemoryStore(bucket), PREFIX),
    keyBytesMax: KEY_BYTES_MAX - PREFIX.length - 1,
  };
}

describeConformance("memory below a prefix", makeStore);

test("an empty prefix is the store itself", () => {
  const store = createMemoryStore();
  expect(prefixed(store, "")).toBe(store);
});

test("a prefix that leaves no room for keys is refused", () => {
  expect(() => prefixed(createMemoryStore(), "x".repeat(1024))).toThrow(/no room/);
});
