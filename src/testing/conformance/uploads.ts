import assert from "node:assert/strict";

import type { ETag } from "../../domain.ts";
import { bareETag } from "../../object-store/etag.ts";
import { PART_BYTES_MIN } from "../../object-store/multipart.ts";
import type { UploadedPart } from "../../object-store/object-store.ts";
import type { StoreCheck } from "./conformance-case.ts";
import { bytes, filled } from "./sample-bytes.ts";
import { UPLOAD_KEY, type UploadDriver } from "./upload-driver.ts";

const PART = PART_BYTES_MIN;
const REFUSED = { code: "TIERLOG_OBJECT_STORE", retryable: false, effect: "none" };

/** Up to the completion. */
export const uploadChecks: readonly StoreCheck<UploadDriver>[] = [
  {
    name: "equal parts and a shorter last one, sent in parallel, become one object in the order of their numbers",
    async check(driver) {
      const bodies = [filled(PART, 1), filled(PART, 2), filled(PART, 3), filled(1000, 4)];
      const parts = await driver.putParts(...bodies);
      assert.deepEqual(
        parts.map((part) => part.partNumber),
        [1, 2, 3, 4],
      );
      assert.deepEqual(
        parts.map((part) => part.sizeBytes),
        [PART, PART, PART, 1000],
      );
      for (const { etag } of parts) assert.deepEqual([etag === "", bareETag(etag)], [false, etag]);
      assert.deepEqual(await driver.upload.complete(parts), { kind: "completed" });
      assert.ok(await driver.holds(...bodies));
      assert.equal((await driver.store.head(UPLOAD_KEY))?.sizeBytes, 3 * PART + 1000);
      assert.deepEqual(await driver.listed(), [UPLOAD_KEY]);
    },
  },
  {
    name: "nothing is visible before complete",
    async check(driver) {
      const { store, target } = driver;
      const parts = await driver.putParts(filled(PART, 1), filled(10, 2));
      for (const on of [store, target.other]) {
        assert.equal(await on.get(UPLOAD_KEY), undefined);
        assert.equal(await on.head(UPLOAD_KEY), undefined);
      }
      assert.deepEqual(await driver.listed(), []);
      const between = await target.other.put(UPLOAD_KEY, bytes("in between"), { condition: { kind: "if-absent" } });
      assert.equal(between.kind, "written");
      await driver.upload.complete(parts);
      assert.ok(await driver.holds(filled(PART, 1), filled(10, 2)));
    },
  },
  {
    name: "a single part of any size is the last one",
    async check(driver) {
      const parts = await driver.putParts(bytes("small"));
      assert.deepEqual(await driver.upload.complete(parts), { kind: "completed" });
      assert.ok(await driver.holds(bytes("small")));
    },
  },
  {
    name: "a part below 5 MiB that is not the last is refused, and nothing appears",
    async check(driver) {
      const parts = await driver.putParts(filled(PART - 1, 1), filled(10, 2));
      await assert.rejects(driver.upload.complete(parts), REFUSED);
      assert.deepEqual(await driver.listed(), []);
    },
  },
  {
    name: "the same number again replaces, numbers may have gaps",
    async check(driver) {
      const { upload } = driver;
      await upload.putPart(7, filled(PART, 9));
      const last = await upload.putPart(9, bytes("end"));
      const first = await upload.putPart(7, filled(PART, 1));
      assert.deepEqual(await upload.listParts(), [first, last]);
      await upload.complete([first, last]);
      assert.ok(await driver.holds(filled(PART, 1), bytes("end")));
    },
  },
  {
    name: "the parts held are listed by number, with their sizes",
    async check({ upload }) {
      assert.deepEqual(await upload.listParts(), []);
      const parts = [await upload.putPart(2, filled(1000, 2)), await upload.putPart(1, filled(PART, 1))];
      let requests = 0;
      assert.deepEqual(await upload.listParts({ onRequest: () => (requests += 1) }), parts.toReversed());
      assert.equal(requests, 1);
    },
  },
  {
    name: "parts that were not uploaded so are refused, and the upload can still be completed",
    async check(driver) {
      const { upload } = driver;
      const parts = await driver.putParts(filled(PART, 1), bytes("end"));
      const [first, last] = parts as [UploadedPart, UploadedPart];
      await assert.rejects(upload.complete([{ ...first, etag: last.etag }, last]), REFUSED);
      await assert.rejects(upload.complete([...parts, { ...last, partNumber: 3 }]), REFUSED);
      assert.deepEqual(await driver.listed(), []);
      assert.deepEqual(await upload.complete(parts), { kind: "completed" });
    },
  },
  {
    name: "lists that no store can complete are refused before they are sent",
    async check(driver) {
      const parts = await driver.putParts(filled(PART, 1), bytes("end"));
      const [first, last] = parts as [UploadedPart, UploadedPart];
      for (const wrong of [[], [last, first], [first, first], [first, { ...last, etag: "" as ETag }]]) {
        await assert.rejects(driver.upload.complete(wrong), { code: "TIERLOG_INVALID_ARGUMENT" });
      }
    },
  },
  ...[0, -1, 1.5, 10_001, Number.NaN].map((partNumber): StoreCheck<UploadDriver> => ({
    name: `part number ${partNumber} is refused`,
    async check({ upload }) {
      await assert.rejects(upload.putPart(partNumber, bytes("x")), { code: "TIERLOG_INVALID_ARGUMENT" });
    },
  })),
  {
    name: "part number 10,000 is the last one",
    async check({ upload }) {
      const part = await upload.putPart(10_000, bytes("x"));
      assert.deepEqual(await upload.complete([part]), { kind: "completed" });
    },
  },
  {
    name: "a body that is a window of a larger buffer is stored as just that window, and may then be changed",
    async check(driver) {
      const large = Buffer.from("....window....");
      const part = await driver.upload.putPart(1, large.subarray(4, 10));
      large.fill(0);
      await driver.upload.complete([part]);
      assert.ok(await driver.holds(bytes("window")));
    },
  },
];
