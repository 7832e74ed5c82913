import { afterEach, beforeEach, describe, expect, test } from "vitest";

import type { ObjectKey } from "../../src/domain.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";
import { FaultScript } from "../../src/testing/fault-script.ts";
import { filled } from "../support/filled.ts";
import { FaultyStores, REPEATED, named, type FaultCase, type OpenFaultyServer } from "./faulty-server.ts";

const KEY = "data/object" as ObjectKey;
const OTHER = "data/other" as ObjectKey;
const BODY = Buffer.from(filled(100_000, 1));

const DENIED: readonly FaultCase[] = [{ fault: { kind: "access-denied" } }, { fault: { kind: "expired-token" } }];

/** An answer that says nothing about what was asked. */
const NO_ANSWER: readonly FaultCase[] = [
  { fault: { kind: "ok-with-error" }, sent: 2 },
  { fault: { kind: "ok-with-error", committed: true }, sent: 2 },
  { fault: { kind: "empty-ok" }, sent: 2 },
  { fault: { kind: "empty-ok", committed: true }, sent: 2 },
];

export function describeReadOutcomes(open: OpenFaultyServer): void {
  let faulty: FaultyStores;

  beforeEach(async () => {
    faulty = await FaultyStores.open(open, new FaultScript());
    await faulty.prepare(KEY, BODY);
    await faulty.prepare(OTHER, BODY);
  });

  afterEach(() => faulty.close());

  async function listed(store: ObjectStore): Promise<string[]> {
    const keys: string[] = [];
    for await (const { key } of store.list("data/")) keys.push(key);
    return keys;
  }

  describe("get gives the whole object or part, byte by byte", () => {
    test.each(named(REPEATED))("$name", async ({ fault, sent }) => {
      const count = faulty.counter("GetObject");
      faulty.strikeNext(fault, "GetObject");
      const store = faulty.store();
      const found = await store.get(KEY);
      expect(Buffer.compare(found?.body ?? Buffer.alloc(0), BODY)).toBe(0);
      expect(faulty.script.firedCount).toBe(1);
      expect(count()).toBe(sent ?? count());
      faulty.strikeNext(fault, "GetObject");
      const part = await store.get(KEY, { range: { start: 10, end: 50_000 } });
      expect(Buffer.compare(part?.body ?? Buffer.alloc(0), BODY.subarray(10, 50_000))).toBe(0);
    });
  });

  describe("an object that is not there is not there, however much of the answer that says so comes through", () => {
    test.each(named(REPEATED))("$name", async ({ fault }) => {
      faulty.strikeNext(fault, "GetObject");
      await expect(faulty.store().get("data/missing" as ObjectKey)).resolves.toBeUndefined();
      expect(faulty.script.firedCount).toBe(1);
    });
  });

  test("a flipped bit comes through: checking bytes is the work of those who know them", async () => {
    faulty.strikeNext({ kind: "bit-flip", position: 77 }, "GetObject");
    const found = await faulty.store().get(KEY);
    const differ = [...(found?.body ?? [])].flatMap((byte, at) => (byte === BODY[at] ? [] : [at]));
    expect(differ).toEqual([77]);
  });

  describe("head tells size and tag", () => {
    test.each(named(REPEATED))("$name", async ({ fault, sent }) => {
      const count = faulty.counter("HeadObject");
      faulty.strikeNext(fault, "HeadObject");
      await expect(faulty.store().head(KEY)).resolves.toMatchObject({ sizeBytes: BODY.length });
      expect(faulty.script.firedCount).toBe(1);
      expect(count()).toBe(sent ?? count());
    });
  });

  describe("an object that cannot be seen is not an object that is not there", () => {
    test.each(named(DENIED))("$name", async ({ fault }) => {
      const error = { code: "TIERLOG_OBJECT_STORE", retryable: false };
      // HEAD, then the GET that tells what the HEAD could not.
      faulty.strikeNext(fault, "HeadObject");
      faulty.strikeNext(fault, "GetObject");
      await expect(faulty.store().head(KEY)).rejects.toMatchObject(error);
      faulty.strikeNext(fault, "GetObject");
      await expect(faulty.store().get(KEY)).rejects.toMatchObject(error);
      faulty.strikeNext(fault, "ListObjectsV2");
      await expect(listed(faulty.store())).rejects.toMatchObject(error);
      expect(faulty.script.firedCount).toBe(4);
    });
  });

  describe("a listing is whole", () => {
    test.each(named([...REPEATED, ...NO_ANSWER]))("$name", async ({ fault, sent }) => {
      const count = faulty.counter("ListObjectsV2");
      faulty.strikeNext(fault, "ListObjectsV2");
      await expect(listed(faulty.store())).resolves.toEqual([KEY, OTHER]);
      expect(faulty.script.firedCount).toBe(1);
      expect(count()).toBe(sent ?? count());
    });
  });

  describe("what was deleted is gone", () => {
    const late: FaultCase = { fault: { kind: "late-landing", delayMs: Number.POSITIVE_INFINITY }, sent: 2 };
    test.each(named([...REPEATED, late]))("one: $name", async ({ fault, sent }) => {
      const count = faulty.counter("DeleteObject");
      faulty.strikeNext(fault, "DeleteObject");
      await faulty.store().delete([KEY]);
      expect(faulty.script.firedCount).toBe(1);
      expect(count()).toBe(sent ?? count());
      await faulty.server.landLate();
      await expect(faulty.inPeace(listed)).resolves.toEqual([OTHER]);
    });

    test.each(named([...REPEATED, ...NO_ANSWER, late]))("several: $name", async ({ fault, sent }) => {
      const count = faulty.counter("DeleteObjects");
      faulty.strikeNext(fault, "DeleteObjects");
      await faulty.store().delete([KEY, OTHER]);
      expect(faulty.script.firedCount).toBe(1);
      expect(count()).toBe(sent ?? count());
      await faulty.server.landLate();
      await expect(faulty.inPeace(listed)).resolves.toEqual([]);
    });
  });
}
