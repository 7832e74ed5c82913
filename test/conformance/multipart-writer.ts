import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { BufferedMultipartWriter } from "../../src/object-store/buffered-multipart-writer.ts";
import { metered, type MeteredStore } from "../../src/object-store/metered.ts";
import { PartBufferPool } from "../../src/object-store/part-buffer-pool.ts";
import { settling } from "../../src/object-store/settling.ts";
import { systemClock } from "../../src/runtime/clock.ts";
import { seededRandom } from "../../src/runtime/random.ts";
import type { StoreUnderTest } from "../../src/testing/conformance/conformance-case.ts";
import { filled, k } from "../../src/testing/conformance/sample-bytes.ts";
import { PartWatch } from "../support/part-watch.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
const PARTS_IN_FLIGHT = 3;
const KEY = k("data/ab/0000-0000000001-0000000001-ff.log");

/** What `BufferedMultipartWriter` does on every store. */
export function describeMultipartWriter(name: string, makeStore: () => Promise<StoreUnderTest>): void {
  describe(`multipart writer: ${name}`, () => {
    let target: StoreUnderTest;
    let watch: PartWatch;
    let meter: MeteredStore;

    beforeEach(async () => {
      target = await makeStore();
      watch = new PartWatch(target.store);
      meter = metered(watch.store, systemClock);
    });

    afterEach(async () => {
      await target.store.close();
      await target.other.close();
      await target.cleanUp?.();
    });

    async function write(
      chunks: readonly Uint8Array[],
      partSizeBytes: number,
    ): Promise<{ readonly sizeBytes: number; readonly parts: number }> {
      const pool = new PartBufferPool({ partSizeBytes, buffersMax: PARTS_IN_FLIGHT + 1 });
      const store = settling(meter.store, { clock: systemClock, random: seededRandom(1), deadlineMs: 60_000 });
      await using writer = new BufferedMultipartWriter({ store, key: KEY, pool, partsInFlight: PARTS_IN_FLIGHT });
      for (const chunk of chunks) {
        const written = writer.write(chunk);
        expect(writer.bufferedBytes).toBeLessThanOrEqual((PARTS_IN_FLIGHT + 1) * partSizeBytes);
        await written;
        expect(writer.bufferedBytes).toBeLessThanOrEqual((PARTS_IN_FLIGHT + 1) * partSizeBytes);
        expect(pool.inUse * partSizeBytes).toBe(writer.bufferedBytes);
      }
      const result = await writer.finish();
      expect([pool.inUse, pool.waiting, writer.bufferedBytes]).toEqual([0, 0, 0]);
      return result;
    }

    async function holds(chunks: readonly Uint8Array[]): Promise<boolean> {
      const object = await target.other.get(KEY);
      return object !== undefined && Buffer.compare(object.body, Buffer.concat(chunks)) === 0;
    }

    const requests = (): Record<string, number> => {
      const { put, createMultipart, uploadPart, completeMultipart, abortMultipart } = meter.metrics();
      return {
        put: put.requests,
        create: createMultipart.requests,
        part: uploadPart.requests,
        complete: completeMultipart.requests,
        abort: abortMultipart.requests,
      };
    };

    const tile = filled(7 * KIB, 1);
    test.each([
      ["1,000 chunks of 7 KiB", Array.from({ length: 1000 }, () => tile), 5 * MIB],
      ["100 chunks of 1 MiB", Array.from({ length: 100 }, (_, i) => filled(MIB, i)), 8 * MIB],
      ["one chunk of 60 MiB", [filled(60 * MIB, 7)], 8 * MIB],
      ["an exact multiple of the part size", [filled(3 * MIB, 1), filled(12 * MIB, 2)], 5 * MIB],
    ])("%s: legal, equal parts", async (_, chunks, partSizeBytes) => {
      const sizeBytes = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
      const parts = Math.ceil(sizeBytes / partSizeBytes);
      expect(await write(chunks, partSizeBytes)).toEqual({ sizeBytes, parts });
      expect(requests()).toEqual({ put: 0, create: 1, part: parts, complete: 1, abort: 0 });
      expect(watch.sizes.slice(0, -1)).toEqual(Array.from({ length: parts - 1 }, () => partSizeBytes));
      expect(watch.sizes.at(-1)).toBe(sizeBytes - (parts - 1) * partSizeBytes);
      expect(watch.inFlightMax).toBeLessThanOrEqual(PARTS_IN_FLIGHT);
      expect(watch.changed).toEqual([]);
      expect(await holds(chunks)).toBe(true);
    });

    test.each([
      ["nothing", 0, 8 * MIB],
      ["one byte", 1, 8 * MIB],
      ["below 5 MiB", 5 * MIB - 1, 8 * MIB],
      ["5 MiB", 5 * MIB, 8 * MIB],
      ["exactly one part", 8 * MIB, 8 * MIB],
      ["exactly one part of 5 MiB", 5 * MIB, 5 * MIB],
    ])("%s: one put, no upload", async (_, sizeBytes, partSizeBytes) => {
      const body = filled(sizeBytes, 1);
      const chunks = [body.subarray(0, sizeBytes >> 1), body.subarray(sizeBytes >> 1)];
      expect(await write(chunks, partSizeBytes)).toEqual({ sizeBytes, parts: 0 });
      expect(requests()).toEqual({ put: 1, create: 0, part: 0, complete: 0, abort: 0 });
      expect(await holds(chunks)).toBe(true);
    });

    test("one byte more than a part: an upload of two parts", async () => {
      const chunks = [filled(5 * MIB, 1), filled(1, 2)];
      expect(await write(chunks, 5 * MIB)).toEqual({ sizeBytes: 5 * MIB + 1, parts: 2 });
      expect(requests()).toEqual({ put: 0, create: 1, part: 2, complete: 1, abort: 0 });
      expect(await holds(chunks)).toBe(true);
    });

    test("abandoned in the middle: no object, and the upload is aborted", async () => {
      const pool = new PartBufferPool({ partSizeBytes: 5 * MIB, buffersMax: PARTS_IN_FLIGHT + 1 });
      const store = settling(meter.store, { clock: systemClock, random: seededRandom(1), deadlineMs: 60_000 });
      const options = { store, key: KEY, pool, partsInFlight: PARTS_IN_FLIGHT };
      const writer = new BufferedMultipartWriter(options);
      await writer.write(filled(17 * MIB, 1));
      await writer.abandon();
      expect([pool.inUse, pool.waiting, writer.bufferedBytes]).toEqual([0, 0, 0]);
      expect(requests()).toMatchObject({ put: 0, create: 1, complete: 0, abort: 1 });
      expect(await watch.uploads[0]?.listParts()).toBeUndefined();
      expect(await target.other.head(KEY)).toBeUndefined();
    });
  });
}
