import { afterEach, beforeEach, describe, expect, test } from "vitest";

import type { ObjectKey } from "../../src/domain.ts";
import { FaultScript } from "../../src/testing/fault-script.ts";
import { filled } from "../support/filled.ts";
import { FaultyStores, REPEATED, SETTLED, named, type FaultCase, type OpenFaultyServer } from "./faulty-server.ts";

const KEY = "data/large" as ObjectKey;
const BODY = Buffer.from(filled(100_000, 3));

const COMPLETE_FAULTS: readonly FaultCase[] = [
  { fault: { kind: "reset-mid-body" }, sent: 2 },
  { fault: { kind: "conflict" }, sent: 2 },
  { fault: { kind: "precondition-failed-though-own" }, sent: 1 },
  { fault: { kind: "ok-with-error" }, sent: 2 },
  { fault: { kind: "ok-with-error", committed: true }, sent: 1 },
  { fault: { kind: "empty-ok" }, sent: 2 },
  { fault: { kind: "empty-ok", committed: true }, sent: 1 },
  { fault: { kind: "no-such-upload", committed: true }, sent: 1 },
  { fault: { kind: "late-landing", delayMs: 1 } },
  { fault: { kind: "late-landing", delayMs: Number.POSITIVE_INFINITY }, sent: 2 },
];

const PART_FAULTS: readonly FaultCase[] = [
  { fault: { kind: "reset-mid-body" }, sent: 2 },
  { fault: { kind: "ok-with-error" }, sent: 2 },
  { fault: { kind: "missing-etag" }, sent: 2 },
  { fault: { kind: "empty-etag" }, sent: 2 },
  { fault: { kind: "weak-etag" }, sent: 1 },
];

export function describeMultipartOutcomes(open: OpenFaultyServer): void {
  let faulty: FaultyStores;

  beforeEach(async () => {
    faulty = await FaultyStores.open(open, new FaultScript());
  });

  afterEach(() => faulty.close());

  async function expectStored(): Promise<void> {
    expect(Buffer.compare((await faulty.stored(KEY)) ?? Buffer.alloc(0), BODY)).toBe(0);
  }

  describe("complete makes the object", () => {
    test.each(named([...SETTLED, ...COMPLETE_FAULTS]))("$name", async ({ fault, sent }) => {
      const upload = await faulty.store().createMultipart(KEY);
      const parts = [await upload.putPart(1, BODY)];
      const count = faulty.counter("CompleteMultipartUpload");
      faulty.strikeNext(fault, "CompleteMultipartUpload");
      await expect(upload.complete(parts)).resolves.toEqual({ kind: "completed" });
      expect(faulty.script.firedCount).toBe(1);
      expect(count()).toBe(sent ?? count());
      await faulty.server.landLate();
      await expectStored();
    });
  });

  describe("a part is stored", () => {
    test.each(named([...REPEATED, ...PART_FAULTS]))("$name", async ({ fault, sent }) => {
      const upload = await faulty.store().createMultipart(KEY);
      const count = faulty.counter("UploadPart");
      faulty.strikeNext(fault, "UploadPart");
      const parts = [await upload.putPart(1, BODY)];
      expect(faulty.script.firedCount).toBe(1);
      expect(count()).toBe(sent ?? count());
      await upload.complete(parts);
      await expectStored();
    });
  });

  test("several parts, each struck, and the completion too", async () => {
    const large = Buffer.from(filled(5 * 1024 * 1024 + 1_000, 4));
    faulty.script.add({ fault: { kind: "lost-answer" }, match: { operation: "UploadPart", nth: [1, 3] } });
    faulty.script.add({
      fault: { kind: "reset-mid-body", afterBytes: 500 },
      match: { operation: "UploadPart", nth: 4 },
    });
    faulty.strikeNext({ kind: "lost-answer" }, "CompleteMultipartUpload");
    const upload = await faulty.store().createMultipart(KEY);
    const parts = [await upload.putPart(1, large.subarray(0, -1_000)), await upload.putPart(2, large.subarray(-1_000))];
    await upload.complete(parts);
    expect(faulty.script.firedCount).toBe(4);
    expect(faulty.server.requests.count("UploadPart")).toBe(5);
    expect(Buffer.compare((await faulty.stored(KEY)) ?? Buffer.alloc(0), large)).toBe(0);
  });

  test("an upload that the store denies, with no object there, is an error that trying again cannot mend", async () => {
    const upload = await faulty.store().createMultipart(KEY);
    const parts = [await upload.putPart(1, BODY)];
    faulty.strikeNext({ kind: "no-such-upload" }, "CompleteMultipartUpload");
    await expect(upload.complete(parts)).rejects.toMatchObject({ status: 404, retryable: false });
    expect(await faulty.stored(KEY)).toBeUndefined();
    await faulty.inPeace(() => upload.abort());
  });

  describe("an upload begins", () => {
    const cases: readonly FaultCase[] = [
      ...REPEATED,
      { fault: { kind: "ok-with-error" }, sent: 2 },
      { fault: { kind: "empty-ok" }, sent: 2 },
    ];
    test.each(named(cases))("$name", async ({ fault, sent }) => {
      const count = faulty.counter("CreateMultipartUpload");
      faulty.strikeNext(fault, "CreateMultipartUpload");
      const upload = await faulty.store().createMultipart(KEY);
      expect(faulty.script.firedCount).toBe(1);
      expect(count()).toBe(sent ?? count());
      expect(await upload.listParts()).toEqual([]);
      await upload.abort();
    });
  });

  describe("parts are listed", () => {
    const cases: readonly FaultCase[] = [
      ...REPEATED,
      { fault: { kind: "ok-with-error" }, sent: 2 },
      { fault: { kind: "empty-ok" }, sent: 2 },
    ];
    test.each(named(cases))("$name", async ({ fault, sent }) => {
      const upload = await faulty.store().createMultipart(KEY);
      const part = await upload.putPart(1, BODY.subarray(0, 1_000));
      const count = faulty.counter("ListParts");
      faulty.strikeNext(fault, "ListParts");
      await expect(upload.listParts()).resolves.toEqual([part]);
      expect(faulty.script.firedCount).toBe(1);
      expect(count()).toBe(sent ?? count());
      await upload.abort();
    });
  });

  describe("an upload is dropped", () => {
    const cases = [...REPEATED, { fault: { kind: "no-such-upload", committed: true }, sent: 1 } as const];
    test.each(named(cases))("$name", async ({ fault, sent }) => {
      const upload = await faulty.store().createMultipart(KEY);
      const count = faulty.counter("AbortMultipartUpload");
      faulty.strikeNext(fault, "AbortMultipartUpload");
      await upload.abort();
      expect(faulty.script.firedCount).toBe(1);
      expect(count()).toBe(sent ?? count());
      await expect(faulty.inPeace(() => upload.listParts())).resolves.toBeUndefined();
    });
  });
}
