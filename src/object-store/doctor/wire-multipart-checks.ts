import { PutObjectCommand } from "@aws-sdk/client-s3";

import { PART_BYTES_MIN } from "../multipart.ts";
import { answered } from "../probe/s3-wire.ts";
import { bad, ok, type WireCheckSpec } from "./check.ts";
import { completeRaw, sendRawPart, startRawUpload } from "./raw-upload.ts";

const NEEDS = ["s3:PutObject"] as const;
/** Of those that leave an upload open where it cannot be completed. */
const NEEDS_ABORT = ["s3:PutObject", "s3:AbortMultipartUpload"] as const;
const TINY = Buffer.from("a part");

/** Where servers differ. Only the first can matter; the others are facts for whoever has to look into a problem. */
export const WIRE_MULTIPART_CHECKS: readonly WireCheckSpec[] = [
  {
    name: "complete an upload twice",
    severity: "advice",
    hint: "a completion whose answer was lost is repeated until the deadline, then settled by looking for the object",
    needs: NEEDS,
    async run(wire, lab) {
      const upload = await startRawUpload(wire, lab, lab.key("complete-twice"));
      const parts = [await sendRawPart(wire, upload, 1, TINY)];
      const first = await completeRaw(wire, lab, upload, parts);
      if (first.error !== undefined) throw first.error;
      const second = await completeRaw(wire, lab, upload, parts);
      const etag = `the answer names ${first.output?.ETag ? "an" : "no"} ETag`;
      const detail = `the second time ${answered(second)}; ${etag}`;
      return second.error === undefined || second.code === "NoSuchUpload" ? ok(detail) : bad(detail);
    },
  },
  {
    name: "parts below 5 MiB",
    severity: "info",
    hint: "",
    needs: NEEDS_ABORT,
    async run(wire, lab) {
      const upload = await startRawUpload(wire, lab, lab.key("small-parts"));
      const parts = [await sendRawPart(wire, upload, 1, TINY), await sendRawPart(wire, upload, 2, TINY)];
      const answer = await completeRaw(wire, lab, upload, parts);
      return ok(`before the last one: ${answered(answer)}; tierlog sends none`);
    },
  },
  {
    name: "parts of different sizes",
    severity: "info",
    hint: "",
    needs: NEEDS_ABORT,
    async run(wire, lab) {
      const upload = await startRawUpload(wire, lab, lab.key("unequal-parts"));
      const bytes = lab.random.bytes(PART_BYTES_MIN + 1024);
      const parts = [
        await sendRawPart(wire, upload, 1, bytes.subarray(0, PART_BYTES_MIN)),
        await sendRawPart(wire, upload, 2, bytes),
        await sendRawPart(wire, upload, 3, TINY),
      ];
      return ok(`${answered(await completeRaw(wire, lab, upload, parts))}; tierlog sends equal ones`);
    },
  },
  {
    name: "some of the uploaded parts",
    severity: "info",
    hint: "",
    needs: NEEDS_ABORT,
    async run(wire, lab) {
      const upload = await startRawUpload(wire, lab, lab.key("subset"));
      const parts = [await sendRawPart(wire, upload, 1, TINY)];
      await sendRawPart(wire, upload, 2, TINY);
      return ok(
        `completing with one of two: ${answered(await completeRaw(wire, lab, upload, parts))}; tierlog names all`,
      );
    },
  },
  {
    name: "condition on completing",
    severity: "info",
    hint: "",
    needs: NEEDS_ABORT,
    async run(wire, lab) {
      const key = lab.key("conditional-complete");
      const put = await wire.send("put", key, new PutObjectCommand({ ...wire.object(key), Body: TINY }));
      if (put.error !== undefined) throw put.error;
      const upload = await startRawUpload(wire, lab, key);
      const parts = [await sendRawPart(wire, upload, 1, TINY)];
      const answer = await completeRaw(wire, lab, upload, parts, { IfNoneMatch: "*" });
      const said =
        answer.error === undefined ? "ignored: the object was replaced" : `honoured or refused: ${answered(answer)}`;
      return ok(`If-None-Match is ${said}; tierlog sends none`);
    },
  },
];
