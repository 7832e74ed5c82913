import assert from "node:assert/strict";

import { ObjectStoreError } from "../../errors.ts";
import { PART_BYTES_MIN } from "../../object-store/multipart.ts";
import type { MultipartUpload } from "../../object-store/object-store.ts";
import { systemClock } from "../../runtime/clock.ts";
import type { StoreCheck } from "./conformance-case.ts";
import { bytes, filled, k } from "./sample-bytes.ts";
import { UPLOAD_KEY, type UploadDriver } from "./upload-driver.ts";

const PART = PART_BYTES_MIN;

/** What becomes of an upload that was completed or aborted. */
export const uploadEndChecks: readonly StoreCheck<UploadDriver>[] = [
  {
    name: "abort drops everything; afterwards the upload is unknown",
    async check(driver) {
      const { upload } = driver;
      const parts = await driver.putParts(filled(PART, 1), bytes("end"));
      await upload.abort();
      await upload.abort();
      assert.equal(await upload.listParts(), undefined);
      const gone = { code: "TIERLOG_OBJECT_STORE", status: 404, retryable: false, effect: "none" };
      await assert.rejects(upload.putPart(1, bytes("x")), gone);
      // Ceph answers 500 where others say 404; what that means is for the settling wrapper to find out.
      const verdict = await upload.complete(parts).then(
        (outcome) => outcome.kind,
        (error: unknown) => (error instanceof ObjectStoreError ? `effect ${error.effect}` : error),
      );
      assert.ok(verdict === "gone" || verdict === "effect unknown", `complete after abort: ${String(verdict)}`);
      assert.deepEqual(await driver.listed(), []);
    },
  },
  {
    name: "behind the settling wrapper an upload that is gone without its object is an error, long before the deadline",
    async check(driver) {
      const parts = await driver.putParts(filled(PART, 1), bytes("end"));
      await driver.upload.abort();
      const startedAt = systemClock.monotonic();
      await assert.rejects(driver.settled().complete(parts), {
        code: "TIERLOG_OBJECT_STORE",
        retryable: false,
        message: /upload again/,
      });
      assert.ok(systemClock.monotonic() - startedAt < 10_000);
      assert.deepEqual(await driver.listed(), []);
    },
  },
  {
    name: "behind the settling wrapper a completion whose answer was lost is found stored",
    async check(driver) {
      const { upload } = driver;
      const parts = await driver.putParts(filled(PART, 1), bytes("end"));
      let lost = 0;
      const losing: MultipartUpload = {
        ...upload,
        async complete(...args) {
          await upload.complete(...args);
          lost += 1;
          const problem = { operation: "completeMultipart", key: UPLOAD_KEY, retryable: true };
          throw new ObjectStoreError("answer lost", problem, { effect: "unknown" });
        },
      };
      assert.deepEqual(await driver.settled(losing).complete(parts), { kind: "completed" });
      assert.equal(lost, 1);
      // The caller may have died in between, and another attempt of the same call comes late.
      assert.deepEqual(await driver.settled().complete(parts), { kind: "completed" });
      assert.ok(await driver.holds(filled(PART, 1), bytes("end")));
    },
  },
  {
    name: "complete twice says completed or gone, and changes nothing",
    async check(driver) {
      const { store, upload } = driver;
      const parts = await driver.putParts(filled(PART, 1), bytes("end"));
      await upload.complete(parts);
      const etag = (await store.head(UPLOAD_KEY))?.etag;
      const again = (await upload.complete(parts)).kind;
      assert.ok(["completed", "gone"].includes(again), `complete twice: ${again}`);
      assert.equal((await store.head(UPLOAD_KEY))?.etag, etag);
      assert.ok(await driver.holds(filled(PART, 1), bytes("end")));
    },
  },
  {
    name: "abort after complete does nothing",
    async check(driver) {
      const parts = await driver.putParts(filled(PART, 1), bytes("end"));
      await driver.upload.complete(parts);
      await driver.upload.abort();
      assert.ok(await driver.holds(filled(PART, 1), bytes("end")));
    },
  },
  {
    name: "two uploads of one key do not see each other",
    async check(driver) {
      const { upload } = driver;
      const second = await driver.target.other.createMultipart(UPLOAD_KEY);
      assert.notEqual(second.uploadId, upload.uploadId);
      const theirs = await second.putPart(1, bytes("theirs"));
      await upload.putPart(1, bytes("ours"));
      await upload.abort();
      await second.complete([theirs]);
      assert.ok(await driver.holds(bytes("theirs")));
    },
  },
  {
    name: "keys are checked, signals and close are heard",
    async check({ store, upload, target }) {
      await assert.rejects(store.createMultipart(k("a\nb")), { code: "TIERLOG_INVALID_ARGUMENT" });
      const part = await upload.putPart(1, bytes("x"));
      const cause = new Error("stop");
      const signal = AbortSignal.abort(cause);
      const aborted = { code: "TIERLOG_ABORTED", cause };
      await assert.rejects(store.createMultipart(UPLOAD_KEY, { signal }), aborted);
      await assert.rejects(upload.putPart(1, bytes("y"), { signal }), aborted);
      await assert.rejects(upload.listParts({ signal }), aborted);
      await assert.rejects(upload.complete([part], { signal }), { ...aborted, effect: "none" });
      await assert.rejects(upload.abort({ signal }), aborted);
      await store.close();
      const closed = { code: "TIERLOG_CLOSED" };
      await assert.rejects(store.createMultipart(UPLOAD_KEY), closed);
      await assert.rejects(upload.putPart(1, bytes("y")), closed);
      await assert.rejects(upload.complete([part]), closed);
      assert.equal(await target.other.get(UPLOAD_KEY), undefined);
    },
  },
];
