import { assert, property, string } from "fast-check";
import { describe, expect, test } from "vitest";

import type { ETag, ObjectKey } from "../../src/domain.ts";
import { bareETag, quotedETag } from "../../src/object-store/etag.ts";
import { createMemoryStore } from "../../src/object-store/memory-store.ts";
import { metered } from "../../src/object-store/metered.ts";
import { checkKey, compareKeys } from "../../src/object-store/object-key.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";
import { VirtualClock } from "../support/virtual-clock.ts";

describe("ETag", () => {
  test.each([
    ['"abc"', "abc"],
    ["abc", "abc"],
    ['W/"abc"', "abc"],
    ["w/abc", "abc"],
    ['"abc-2"', "abc-2"],
    ['""', ""],
    ["", ""],
    [undefined, ""],
  ])("%s", (header, bare) => {
    expect(bareETag(header)).toBe(bare);
    expect(bareETag(quotedETag(bare as ETag))).toBe(bare);
  });
});

describe("object key", () => {
  test("the order is that of the UTF-8 bytes", () => {
    const text = string({ unit: "binary", maxLength: 8 });
    assert(
      property(text, text, (a, b) => {
        expect(Math.sign(compareKeys(a, b))).toBe(Math.sign(Buffer.compare(Buffer.from(a), Buffer.from(b))));
      }),
      { numRuns: 5_000 },
    );
    expect(compareKeys("\uffee", "😀")).toBeLessThan(0);
  });

  test("the longest allowed key passes, one byte more does not", () => {
    expect(() => checkKey("ä".repeat(512))).not.toThrow();
    expect(() => checkKey("ä".repeat(512) + "x")).toThrow("1025 bytes");
    expect(() => checkKey("abcd", 3)).toThrow("limit is 3");
  });
});

describe("metered", () => {
  test("counts requests, pages, errors, bytes and the time spent waiting for the store", async () => {
    const clock = new VirtualClock();
    const memory = createMemoryStore();
    const wait = (ms: number): void => {
      clock.schedule(ms, () => undefined);
      clock.runNext();
    };
    let broken = false;
    const slow: ObjectStore = {
      ...memory,
      async put(key, body, options) {
        wait(5);
        if (broken) throw new Error("broken");
        return memory.put(key, body, options);
      },
    };
    const meter = metered(slow, clock);
    const { store } = meter;
    const names = Array.from({ length: 1_001 }, (_, i) => `k${i}` as ObjectKey);
    for (const name of names) await store.put(name, Buffer.from("12345"), { condition: { kind: "none" } });
    expect(await store.put("k0" as ObjectKey, Buffer.from("x"), { condition: { kind: "if-absent" } })).toEqual({
      kind: "condition-failed",
    });
    broken = true;
    await expect(store.put("k0" as ObjectKey, Buffer.from("xy"), { condition: { kind: "none" } })).rejects.toThrow(
      "broken",
    );
    await store.get("k0" as ObjectKey, { range: { start: 1, end: 3 } });
    await store.get("missing" as ObjectKey);
    await store.head("k0" as ObjectKey);
    let own = 0;
    for await (const _ of store.list("k", { onRequest: () => (own += 1) })) wait(1);
    await store.delete(names);
    const { put, get, head, list, delete: deleted, uploadPart } = meter.metrics();
    expect(put).toEqual({ requests: 1_003, errors: 1, bytes: 5 * 1_001 + 1 + 2, ms: 5 * 1_003 });
    expect(get).toEqual({ requests: 2, errors: 0, bytes: 2, ms: 0 });
    expect(head.requests).toBe(1);
    expect(list).toEqual({ requests: 2, errors: 0, bytes: 0, ms: 0 });
    expect(own).toBe(2);
    expect(deleted.requests).toBe(1);
    expect(uploadPart.requests).toBe(0);
  });

  test("counts the requests of an upload, and the bytes of its parts even where they fail", async () => {
    const meter = metered(createMemoryStore(), new VirtualClock());
    const upload = await meter.store.createMultipart("k" as ObjectKey);
    const part = await upload.putPart(1, Buffer.from("12345"));
    await upload.listParts();
    await upload.complete([part]);
    expect(await upload.complete([part])).toEqual({ kind: "gone" });
    await expect(upload.putPart(2, Buffer.from("123"))).rejects.toThrow("upload");
    await upload.abort();
    const { createMultipart, uploadPart, completeMultipart, abortMultipart, list } = meter.metrics();
    expect(createMultipart).toEqual({ requests: 1, errors: 0, bytes: 0, ms: 0 });
    expect(uploadPart).toEqual({ requests: 2, errors: 1, bytes: 8, ms: 0 });
    expect(completeMultipart).toEqual({ requests: 2, errors: 0, bytes: 0, ms: 0 });
    expect(abortMultipart).toEqual({ requests: 1, errors: 0, bytes: 0, ms: 0 });
    expect(list.requests).toBe(1);
  });
});
