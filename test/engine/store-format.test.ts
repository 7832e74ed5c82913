import { describe, expect, test } from "vitest";

import { openStoreFormat, parseStoreFormat } from "../../src/engine/store-format.ts";
import { createMemoryStore } from "../../src/object-store/memory-store.ts";
import { FORMAT_KEY } from "../../src/object-store/object-names.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";

const GOOD = { format: "tierlog", version: 1, storeId: "ab", createdAt: "2026-11-21T08:15:00.000Z" };
const bodyOf = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value));

test("made once; everybody goes on with what stands there", async () => {
  const store = createMemoryStore();
  await expect(openStoreFormat(store, systemRuntime, true)).rejects.toMatchObject({ code: "TIERLOG_NOT_FOUND" });
  const [a, b] = await Promise.all([1, 2].map(() => openStoreFormat(store, systemRuntime, false)));
  expect([a?.created, b?.created].filter((created) => created)).toHaveLength(1);
  expect(a?.storeId).toBe(b?.storeId);
  expect(await openStoreFormat(store, systemRuntime, true)).toEqual({ ...a, created: false });
  const stored = await store.get(FORMAT_KEY);
  expect(parseStoreFormat(stored?.body ?? new Uint8Array(0))).toEqual({
    storeId: a?.storeId,
    version: 1,
    createdAt: a?.createdAt,
  });
});

describe("a FORMAT that cannot be used", () => {
  test.each([
    [{ ...GOOD, version: 2 }, "found 2, this version supports 1; a newer tierlog wrote it"],
    // Nothing else of another version is looked at.
    [{ format: "tierlog", version: 3, id: 7 }, "found 3"],
    [{ ...GOOD, version: "1" }, 'found "1"'],
    [{ ...GOOD, version: undefined }, "found null"],
  ])("%j: unsupported", (value, told) => {
    expect(() => parseStoreFormat(bodyOf(value))).toThrow(
      expect.objectContaining({
        code: "TIERLOG_UNSUPPORTED_VERSION",
        message: expect.stringContaining(told) as string,
      }),
    );
  });

  test.each([[{ ...GOOD, format: "other" }], [{ ...GOOD, storeId: 7 }], [[]], [null], [7]])("%j: damaged", (value) => {
    expect(() => parseStoreFormat(bodyOf(value))).toThrow(expect.objectContaining({ code: "TIERLOG_CORRUPTION" }));
  });
});
