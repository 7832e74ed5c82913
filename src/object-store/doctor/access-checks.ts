import {
  DeleteObjectCommand,
  GetObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectsV2Command,
  ListPartsCommand,
  PutObjectCommand,
} from "@aws-sdk/client-s3";

import type { ObjectKey } from "../../domain.ts";
import type { S3Wire, WireAnswer } from "../probe/s3-wire.ts";
import { bad, ok, skipped, type Finding, type Lab, type S3Action, type WireCheckSpec } from "./check.ts";
import { abortRaw, startRawUpload } from "./raw-upload.ts";

/** The store refuses requests that are further off than this; the lease of proofs (gc.grace) bears minutes. */
const REFUSED_CLOCK_MS = 15 * 60_000;
const WRONG_CLOCK_MS = 30_000;

/** Nothing else makes sense before this one. */
export const CONNECTION_CHECK: WireCheckSpec = {
  name: "connection",
  severity: "required",
  hint: "correct endpoint, bucket, region or credentials: tierlog config check shows where each comes from",
  needs: [],
  async run(wire, lab) {
    const answer = await listOnce(wire, lab.prefix);
    const { error, status, code } = answer;
    // Forbidden by a policy: somebody knows us and the bucket.
    if (error === undefined || (status === 403 && code === "AccessDenied")) {
      return ok(`bucket ${wire.bucket} answers`);
    }
    // What was listed is a random prefix: noise here.
    return bad(error.message.replace(`list ${lab.prefix}: `, ""));
  },
};

export const CLOCK_CHECK: WireCheckSpec = {
  name: "clock",
  severity: "advice",
  hint: "set the clock of this machine (NTP): requests that are 15 minutes off are refused",
  needs: [],
  async run(wire, lab) {
    const { headers, status, atMs } = await listOnce(wire, lab.prefix);
    if (status === undefined) return skipped("the store did not answer");
    const theirsMs = Date.parse(headers["date"] ?? "");
    if (Number.isNaN(theirsMs)) return skipped("the store sends no Date");
    // The header has whole seconds, cut off: what is less says nothing.
    const aheadMs = atMs - (theirsMs + 500);
    const seconds = Math.round(Math.abs(aheadMs) / 1000);
    if (seconds === 0) return ok("within a second of the store's");
    const detail = `this machine is ${seconds} s ${aheadMs < 0 ? "behind" : "ahead of"} the store`;
    if (Math.abs(aheadMs) >= REFUSED_CLOCK_MS) return bad(`${detail}: requests are refused`);
    return Math.abs(aheadMs) > WRONG_CLOCK_MS ? bad(detail) : ok(detail);
  },
};

function listOnce(wire: S3Wire, prefix: string): Promise<WireAnswer<object>> {
  const input = { Bucket: wire.bucket, Prefix: wire.fullKey(prefix), MaxKeys: 1 };
  return wire.send("list", prefix, new ListObjectsV2Command(input));
}

interface ActionSpec {
  readonly action: S3Action;
  readonly severity: WireCheckSpec["severity"];
  /** What the engine wants it for. */
  readonly why: string;
  readonly needs: readonly S3Action[];
  readonly ask: (wire: S3Wire, lab: Lab, key: ObjectKey) => Promise<WireAnswer<object>>;
}

const ACTIONS: readonly ActionSpec[] = [
  {
    action: "s3:PutObject",
    severity: "required",
    why: "nothing can be stored without it",
    needs: [],
    ask: (wire, _lab, key) =>
      wire.send("put", key, new PutObjectCommand({ ...wire.object(key), Body: Buffer.from("x") })),
  },
  {
    action: "s3:GetObject",
    severity: "required",
    why: "nothing can be read, nor a lost answer settled, without it",
    needs: ["s3:PutObject"],
    ask: (wire, _lab, key) => wire.send("get", key, new GetObjectCommand(wire.object(key))),
  },
  {
    action: "s3:ListBucket",
    severity: "required",
    why: "topics and checkpoints are found by listing, and without it a missing object answers 403 like a forbidden one; the action belongs to the bucket itself, not to the objects in it",
    needs: [],
    ask: (wire, lab) => listOnce(wire, lab.prefix),
  },
  {
    action: "s3:DeleteObject",
    severity: "advice",
    why: "old checkpoints stay in the store without it, and so does what this check wrote",
    needs: ["s3:PutObject"],
    ask: (wire, _lab, key) => wire.send("delete", key, new DeleteObjectCommand(wire.object(key))),
  },
  {
    action: "s3:ListMultipartUploadParts",
    severity: "advice",
    why: "without it a completion whose answer was lost is repeated until the deadline instead of settled at once",
    needs: ["s3:PutObject"],
    async ask(wire, lab, key) {
      const upload = await startRawUpload(wire, lab, key);
      const command = new ListPartsCommand({ ...wire.object(key), UploadId: upload.uploadId });
      const answer = await wire.send<object>("listParts", key, command);
      await abortRaw(wire, lab, upload);
      return answer;
    },
  },
  {
    action: "s3:ListBucketMultipartUploads",
    severity: "advice",
    why: "uploads that a dead process left open cannot be found, and are paid for, without it; the action belongs to the bucket itself",
    needs: [],
    ask(wire, lab) {
      const input = { Bucket: wire.bucket, Prefix: wire.fullKey(lab.prefix) };
      return wire.send("list", "uploads", new ListMultipartUploadsCommand(input));
    },
  },
  {
    action: "s3:AbortMultipartUpload",
    severity: "advice",
    why: "the parts of flushes that failed stay in the store, and are paid for, without it",
    needs: ["s3:PutObject"],
    async ask(wire, lab, key) {
      const upload = await startRawUpload(wire, lab, key);
      return abortRaw(wire, lab, upload);
    },
  },
];

/** One request for each action that the engine's credentials should have; what is denied goes into `lab.denied`. */
export const ACTION_CHECKS: readonly WireCheckSpec[] = ACTIONS.map(({ action, severity, why, needs, ask }) => ({
  name: action,
  severity,
  hint: `allow ${action} in the policy of these credentials: ${why}`,
  needs,
  async run(wire, lab): Promise<Finding> {
    const { error, status, code } = await ask(wire, lab, lab.key("access"));
    if (error === undefined) return ok("allowed");
    if (status === 403) {
      lab.denied.add(action);
      return bad(`denied: HTTP 403 ${code}`);
    }
    return bad(error.message.replaceAll(lab.prefix, "…/"), "not denied, but it failed: look at the message");
  },
}));
