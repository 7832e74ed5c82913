import { createHash } from "node:crypto";

import {
  GetBucketVersioningCommand,
  GetObjectCommand,
  GetObjectLockConfigurationCommand,
  HeadObjectCommand,
  PutObjectCommand,
  type GetBucketVersioningOutput,
  type GetObjectLockConfigurationOutput,
} from "@aws-sdk/client-s3";

import { checkEncryption } from "../probe/encryption-check.ts";
import { findIfMatchSpelling, type IfMatchSpelling } from "../probe/if-match.ts";
import { answered, type WireAnswer } from "../probe/s3-wire.ts";
import { sendWrongChecksum, type ChecksumHeader } from "../probe/wrong-checksum.ts";
import { bad, ok, skipped, type Finding, type WireCheckSpec } from "./check.ts";

const IF_MATCH: WireCheckSpec = {
  name: "If-Match",
  severity: "advice",
  hint: "nothing: this version of tierlog does not need it",
  needs: ["s3:PutObject", "s3:GetObject"],
  async run(wire, lab) {
    const key = lab.key("if-match");
    const spelling = await findIfMatchSpelling(wire, key);
    const missing = await wire.send(
      "put",
      key,
      new PutObjectCommand({ ...wire.object(lab.key("if-match-missing")), Body: "x", IfMatch: `"${"0".repeat(32)}"` }),
    );
    const onMissing = `on a missing key ${answered(missing)}`;
    if (spelling === undefined) return bad(`no clear answer; ${onMissing}`);
    const { works, said } = SPELLINGS[spelling];
    const safe = missing.status === 404 || missing.status === 412;
    return { ok: works && safe, detail: `${said}; ${onMissing}` };
  },
};

const SPELLINGS: Readonly<Record<IfMatchSpelling, { readonly works: boolean; readonly said: string }>> = {
  quoted: { works: true, said: "works with the ETag in quotes, not without; a stale one is refused" },
  bare: { works: true, said: "works with the ETag without quotes only; a stale one is refused" },
  either: { works: true, said: "works with the ETag with or without quotes; a stale one is refused" },
  neither: { works: false, said: "the right ETag is refused, with quotes and without" },
  ignored: { works: false, said: "ignored: a stale ETag was accepted" },
  unsupported: { works: false, said: "the store refuses such a PUT" },
};

const ETAG: WireCheckSpec = {
  name: "ETag",
  severity: "advice",
  hint: "parts of an upload are named by their ETags: a proxy that removes or changes the header must not",
  needs: ["s3:PutObject", "s3:GetObject"],
  async run(wire, lab) {
    const key = lab.key("etag");
    const body = Buffer.from("etag");
    const put = await wire.send("put", key, new PutObjectCommand({ ...wire.object(key), Body: body }));
    const head = await wire.send("head", key, new HeadObjectCommand(wire.object(key)));
    const get = await wire.send("get", key, new GetObjectCommand(wire.object(key)));
    for (const { error } of [put, head, get]) if (error !== undefined) throw error;
    const forms = [put, head, get].map(({ headers }) => headers["etag"]);
    if (forms.some((form) => form === undefined || form === "")) return bad(`missing: ${forms.map(String).join(", ")}`);
    const bare = forms.map((form) => (form ?? "").replace(/^W\//i, "").replaceAll('"', ""));
    if (new Set(bare).size > 1) return bad(`PUT, HEAD and GET give different ones: ${forms.join(", ")}`);
    const md5 = bare[0] === createHash("md5").update(body).digest("hex");
    const shape = new Set(forms.map((form) => shapeOf(form ?? "")));
    return ok(`${[...shape].join(" and ")}, ${md5 ? "the MD5 of the body" : "not the MD5 of the body"}`);
  },
};

const ENCRYPTION: WireCheckSpec = {
  name: "encryption",
  severity: "required",
  hint: 'write another mode into system.storage.object.encryption, or "none", and let the bucket encrypt by default',
  needs: ["s3:PutObject", "s3:GetObject"],
  run: (wire, lab) => checkEncryption(wire, lab.key("encryption")),
};

function shapeOf(etag: string): string {
  if (/^W\//i.test(etag)) return "weak";
  return etag.startsWith('"') ? "quoted" : "without quotes";
}

function checksum(header: ChecksumHeader, severity: "advice" | "info", accepted: string, hint: string): WireCheckSpec {
  return {
    name: `wrong ${header}`,
    severity,
    hint,
    needs: ["s3:PutObject"],
    async run(wire, lab) {
      const { finding, answer } = await sendWrongChecksum(wire, lab.key("checksum"), header);
      if (finding === "refused") return ok(`refused: ${answer}`);
      return finding === "accepted" ? bad(accepted) : skipped(`the store does not take the header: ${answer}`);
    },
  };
}

const BUCKET_VERSIONING: WireCheckSpec = {
  name: "versioning",
  severity: "info",
  hint: "",
  needs: [],
  async run(wire) {
    const answer = await wire.send<GetBucketVersioningOutput>(
      "get",
      wire.bucket,
      new GetBucketVersioningCommand({ Bucket: wire.bucket }),
    );
    if (answer.error !== undefined) return notAsked(answer, "s3:GetBucketVersioning");
    const status = answer.output?.Status;
    if (status !== "Enabled") return ok(status === undefined ? "off" : status.toLowerCase());
    return ok("on: what tierlog deletes stays as an old version, and is paid for until a lifecycle rule removes it");
  },
};

const OBJECT_LOCK: WireCheckSpec = {
  name: "object lock",
  severity: "info",
  hint: "",
  needs: [],
  async run(wire) {
    const answer = await wire.send<GetObjectLockConfigurationOutput>(
      "get",
      wire.bucket,
      new GetObjectLockConfigurationCommand({ Bucket: wire.bucket }),
    );
    if (/ObjectLockConfigurationNotFound/.test(answer.code)) return ok("off");
    if (answer.error !== undefined) return notAsked(answer, "s3:GetBucketObjectLockConfiguration");
    const { ObjectLockEnabled, Rule } = answer.output?.ObjectLockConfiguration ?? {};
    if (ObjectLockEnabled !== "Enabled") return ok("off");
    return ok(
      Rule?.DefaultRetention === undefined
        ? "on, without a default retention"
        : "on: old versions cannot be removed until their retention is over",
    );
  },
};

function notAsked(answer: WireAnswer<object>, action: string): Finding {
  if (answer.status === 403) return skipped(`not allowed to ask (${action})`);
  return skipped(`the store does not say: ${answered(answer)}`);
}

export const WIRE_CHECKS: readonly WireCheckSpec[] = [
  IF_MATCH,
  ETAG,
  ENCRYPTION,
  checksum(
    "x-amz-checksum-crc32c",
    "info",
    "accepted: the store does not look at it",
    "nothing: tierlog then signs every payload, which the store checks, and its own CRCs are looked at by every read",
  ),
  checksum("content-md5", "info", "accepted: the store does not look at it", "nothing: tierlog does not rely on it"),
  checksum(
    "x-amz-content-sha256",
    "advice",
    "accepted: the store does not check payloads against their signature",
    "use TLS: damage on the way is then only found by the next read, whose CRCs fail",
  ),
  BUCKET_VERSIONING,
  OBJECT_LOCK,
];
