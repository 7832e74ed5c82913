import { afterEach, beforeEach, describe, expect, test } from "vitest";

import type { ETag } from "../../src/domain.ts";
import { ObjectStoreError } from "../../src/errors.ts";
import { bareETag } from "../../src/object-store/etag.ts";
import type { MultipartUpload, ObjectStore, UploadedPart } from "../../src/object-store/object-store.ts";
import { settlingUpload } from "../../src/object-store/settling-multipart.ts";
import { systemClock } from "../../src/runtime/clock.ts";
import { seededRandom } from "../../src/runtime/random.ts";
import { filled } from "../support/filled.ts";
import { bytes, k, type StoreUnderTest } from "./object-store.ts";

const MIB = 1024 * 1024;
const PART = 5 * MIB;
const KEY = k("data/ab/0000-0000000001-0000000000-ff.log");

/** What every `ObjectStore` does with uploads in parts. Each test gets an empty store. */
export function describeMultipart(name: string, makeStore: () => Promise<StoreUnderTest>): void {
  describe(`uploads in parts: ${name}`, () => {
    let target: StoreUnderTest;
    let store: ObjectStore;
    let upload: MultipartUpload;

    beforeEach(async () => {
      target = await makeStore();
      store = target.store;
      upload = await store.createMultipart(KEY);
    });

    afterEach(async () => {
      await target.store.close();
      await target.other.close();
      await target.cleanUp?.();
    });

    const putParts = async (...bodies: Uint8Array[]): Promise<UploadedPart[]> =>
      Promise.all(bodies.map((body, i) => upload.putPart(i + 1, body)));
    const holds = async (...bodies: Uint8Array[]): Promise<boolean> => {
      const object = await target.other.get(KEY);
      return object !== undefined && Buffer.compare(object.body, Buffer.concat(bodies)) === 0;
    };
    const listed = async (): Promise<string[]> => {
      const keys: string[] = [];
      for await (const info of target.other.list("")) keys.push(info.key);
      return keys;
    };

    test("equal parts and a shorter last one, sent in parallel, become one object in the order of their numbers", async () => {
      const bodies = [filled(PART, 1), filled(PART, 2), filled(PART, 3), filled(1000, 4)];
      const parts = await putParts(...bodies);
      expect(parts.map((part) => part.partNumber)).toEqual([1, 2, 3, 4]);
      expect(parts.map((part) => part.sizeBytes)).toEqual([PART, PART, PART, 1000]);
      for (const { etag } of parts) expect([etag === "", bareETag(etag)]).toEqual([false, etag]);
      expect(await upload.complete(parts)).toEqual({ kind: "completed" });
      expect(await holds(...bodies)).toBe(true);
      expect((await store.head(KEY))?.sizeBytes).toBe(3 * PART + 1000);
      expect(await listed()).toEqual([KEY]);
    });

    test("nothing is visible before complete", async () => {
      const parts = await putParts(filled(PART, 1), filled(10, 2));
      for (const on of [store, target.other]) {
        expect(await on.get(KEY)).toBeUndefined();
        expect(await on.head(KEY)).toBeUndefined();
      }
      expect(await listed()).toEqual([]);
      expect(await target.other.put(KEY, bytes("in between"), { condition: { kind: "if-absent" } })).toMatchObject({
        kind: "written",
      });
      await upload.complete(parts);
      expect(await holds(filled(PART, 1), filled(10, 2))).toBe(true);
    });

    test("a single part of any size is the last one", async () => {
      const parts = await putParts(bytes("small"));
      expect(await upload.complete(parts)).toEqual({ kind: "completed" });
      expect(await holds(bytes("small"))).toBe(true);
    });

    test("a part below 5 MiB that is not the last is refused, and nothing appears", async () => {
      const parts = await putParts(filled(PART - 1, 1), filled(10, 2));
      await expect(upload.complete(parts)).rejects.toMatchObject({
        code: "TIERLOG_OBJECT_STORE",
        retryable: false,
        effect: "none",
      });
      expect(await listed()).toEqual([]);
    });

    test("the same number again replaces, numbers may have gaps", async () => {
      await upload.putPart(7, filled(PART, 9));
      const last = await upload.putPart(9, bytes("end"));
      const first = await upload.putPart(7, filled(PART, 1));
      expect(await upload.listParts()).toEqual([first, last]);
      await upload.complete([first, last]);
      expect(await holds(filled(PART, 1), bytes("end"))).toBe(true);
    });

    test("the parts held are listed by number, with their sizes", async () => {
      expect(await upload.listParts()).toEqual([]);
      const parts = [await upload.putPart(2, filled(1000, 2)), await upload.putPart(1, filled(PART, 1))];
      let requests = 0;
      expect(await upload.listParts({ onRequest: () => (requests += 1) })).toEqual(parts.toReversed());
      expect(requests).toBe(1);
    });

    test("parts that were not uploaded so are refused, and the upload can still be completed", async () => {
      const parts = await putParts(filled(PART, 1), bytes("end"));
      const [first, last] = parts as [UploadedPart, UploadedPart];
      const refused = { code: "TIERLOG_OBJECT_STORE", retryable: false, effect: "none" };
      await expect(upload.complete([{ ...first, etag: last.etag }, last])).rejects.toMatchObject(refused);
      await expect(upload.complete([...parts, { ...last, partNumber: 3 }])).rejects.toMatchObject(refused);
      expect(await listed()).toEqual([]);
      expect(await upload.complete(parts)).toEqual({ kind: "completed" });
    });

    test("lists that no store can complete are refused before they are sent", async () => {
      const parts = await putParts(filled(PART, 1), bytes("end"));
      const [first, last] = parts as [UploadedPart, UploadedPart];
      for (const wrong of [[], [last, first], [first, first], [first, { ...last, etag: "" as ETag }]]) {
        await expect(upload.complete(wrong)).rejects.toMatchObject({ code: "TIERLOG_INVALID_ARGUMENT" });
      }
    });

    test.each([0, -1, 1.5, 10_001, Number.NaN])("part number %d is refused", async (partNumber) => {
      await expect(upload.putPart(partNumber, bytes("x"))).rejects.toMatchObject({ code: "TIERLOG_INVALID_ARGUMENT" });
    });

    test("part number 10,000 is the last one", async () => {
      const part = await upload.putPart(10_000, bytes("x"));
      expect(await upload.complete([part])).toEqual({ kind: "completed" });
    });

    test("abort drops everything; afterwards the upload is unknown", async () => {
      const parts = await putParts(filled(PART, 1), bytes("end"));
      await upload.abort();
      await upload.abort();
      expect(await upload.listParts()).toBeUndefined();
      await expect(upload.putPart(1, bytes("x"))).rejects.toMatchObject({
        code: "TIERLOG_OBJECT_STORE",
        status: 404,
        retryable: false,
        effect: "none",
      });
      // Ceph answers 500 where others say 404; what that means is for the settling wrapper to find out.
      const verdict = upload.complete(parts).then(
        (outcome) => outcome.kind,
        (error: unknown) => (error instanceof ObjectStoreError ? `effect ${error.effect}` : error),
      );
      expect(["gone", "effect unknown"]).toContain(await verdict);
      expect(await listed()).toEqual([]);
    });

    describe("behind the settling wrapper", () => {
      const settle = (): MultipartUpload =>
        settlingUpload(store, upload, { clock: systemClock, random: seededRandom(1), deadlineMs: 60_000 });

      test("an upload that is gone without its object is an error, long before the deadline", async () => {
        const parts = await putParts(filled(PART, 1), bytes("end"));
        await upload.abort();
        const startedAt = performance.now();
        await expect(settle().complete(parts)).rejects.toMatchObject({
          code: "TIERLOG_OBJECT_STORE",
          retryable: false,
          message: expect.stringContaining("upload again") as string,
        });
        expect(performance.now() - startedAt).toBeLessThan(10_000);
        expect(await listed()).toEqual([]);
      });

      test("a completion whose answer was lost is found stored", async () => {
        const parts = await putParts(filled(PART, 1), bytes("end"));
        let lost = 0;
        const losing: MultipartUpload = {
          ...upload,
          async complete(...args) {
            await upload.complete(...args);
            lost += 1;
            const problem = { operation: "completeMultipart", key: KEY, retryable: true };
            throw new ObjectStoreError("answer lost", problem, { effect: "unknown" });
          },
        };
        const settings = { clock: systemClock, random: seededRandom(1), deadlineMs: 60_000 };
        expect(await settlingUpload(store, losing, settings).complete(parts)).toEqual({ kind: "completed" });
        expect(lost).toBe(1);
        // The caller may have died in between, and another attempt of the same call comes late.
        expect(await settle().complete(parts)).toEqual({ kind: "completed" });
        expect(await holds(filled(PART, 1), bytes("end"))).toBe(true);
      });
    });

    test("complete twice says completed or gone, and changes nothing", async () => {
      const parts = await putParts(filled(PART, 1), bytes("end"));
      await upload.complete(parts);
      const etag = (await store.head(KEY))?.etag;
      expect(["completed", "gone"]).toContain((await upload.complete(parts)).kind);
      expect((await store.head(KEY))?.etag).toBe(etag);
      expect(await holds(filled(PART, 1), bytes("end"))).toBe(true);
    });

    test("abort after complete does nothing", async () => {
      const parts = await putParts(filled(PART, 1), bytes("end"));
      await upload.complete(parts);
      await upload.abort();
      expect(await holds(filled(PART, 1), bytes("end"))).toBe(true);
    });

    test("two uploads of one key do not see each other", async () => {
      const second = await target.other.createMultipart(KEY);
      expect(second.uploadId).not.toBe(upload.uploadId);
      const theirs = await second.putPart(1, bytes("theirs"));
      await upload.putPart(1, bytes("ours"));
      await upload.abort();
      await second.complete([theirs]);
      expect(await holds(bytes("theirs"))).toBe(true);
    });

    test("a body that is a window of a larger buffer is stored as just that window, and may then be changed", async () => {
      const large = Buffer.from("....window....");
      const part = await upload.putPart(1, large.subarray(4, 10));
      large.fill(0);
      await upload.complete([part]);
      expect(await holds(bytes("window"))).toBe(true);
    });

    test("keys are checked, signals and close are heard", async () => {
      await expect(store.createMultipart(k("a\nb"))).rejects.toMatchObject({ code: "TIERLOG_INVALID_ARGUMENT" });
      const part = await upload.putPart(1, bytes("x"));
      const signal = AbortSignal.abort(new Error("stop"));
      const aborted = { code: "TIERLOG_ABORTED", cause: { message: "stop" } };
      await expect(store.createMultipart(KEY, { signal })).rejects.toMatchObject(aborted);
      await expect(upload.putPart(1, bytes("y"), { signal })).rejects.toMatchObject(aborted);
      await expect(upload.listParts({ signal })).rejects.toMatchObject(aborted);
      await expect(upload.complete([part], { signal })).rejects.toMatchObject({ ...aborted, effect: "none" });
      await expect(upload.abort({ signal })).rejects.toMatchObject(aborted);
      await store.close();
      const closed = { code: "TIERLOG_CLOSED" };
      await expect(store.createMultipart(KEY)).rejects.toMatchObject(closed);
      await expect(upload.putPart(1, bytes("y"))).rejects.toMatchObject(closed);
      await expect(upload.complete([part])).rejects.toMatchObject(closed);
      expect(await target.other.get(KEY)).toBeUndefined();
    });
  });
}
