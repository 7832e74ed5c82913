import { PART_BYTES_MIN } from "../multipart.ts";
import type { UploadedPart } from "../object-store.ts";
import { settleAll } from "../probe/race-create.ts";
import { bad, ok, sameBytes, type CheckSpec } from "./check.ts";

/** Over the contract: what a flush larger than a part, and a merge, do. */
export const MULTIPART_CHECKS: readonly CheckSpec[] = [
  {
    name: "multipart upload",
    severity: "required",
    hint: "flushes larger than multipart_part_size go through it; the server must take parts of 5 MiB",
    needs: ["s3:PutObject", "s3:GetObject", "s3:ListBucket"],
    async run({ bulk, other, key, random }) {
      const name = key("multipart");
      const part = random.bytes(PART_BYTES_MIN);
      const last = random.bytes(1000);
      const upload = await bulk.createMultipart(name);
      const parts: UploadedPart[] = await settleAll([upload.putPart(1, part), upload.putPart(2, part)]);
      parts.push(await upload.putPart(3, last));
      // An upload that does not get so far is aborted by the clean-up.
      if ((await other.head(name)) !== undefined) return bad("the object is visible before the upload is complete");
      const outcome = await upload.complete(parts);
      if (outcome.kind !== "completed") return bad("the store lost the upload before it was complete");
      const sizeBytes = 2 * part.length + last.length;
      const range = { start: part.length - 100, end: part.length + 100 };
      const seam = await other.get(name, { range });
      const end = await other.get(name, { range: { start: 2 * part.length } });
      const expected = Buffer.concat([part.subarray(-100), part.subarray(0, 100)]);
      if (seam === undefined) return bad("the object could not be found right after it was complete");
      if (seam.sizeBytes !== sizeBytes) return bad(`the object has ${seam.sizeBytes} bytes, not ${sizeBytes}`);
      if (!sameBytes(seam.body, expected) || !sameBytes(end?.body, last))
        return bad("the parts were not put together right");
      return ok("two parts of 5 MiB and a small one, invisible before, whole afterwards");
    },
  },
];
