import { PutObjectCommand, type PutObjectCommandOutput } from "@aws-sdk/client-s3";

import type { ObjectKey } from "../../domain.ts";
import type { S3Wire } from "./s3-wire.ts";

/**
 * How a store wants the ETag of `If-Match` on a PUT. "either": quoted and bare both match. "neither": both are refused although
 * the tag is right. "ignored": a wrong tag is written all the same. "unsupported": such a PUT is not taken at all.
 */
export type IfMatchSpelling = "quoted" | "bare" | "either" | "neither" | "ignored" | "unsupported";

/** Writes `key`, which nobody else uses, up to three times; three to four requests. undefined: no clear answer. */
export async function findIfMatchSpelling(wire: S3Wire, key: ObjectKey): Promise<IfMatchSpelling | undefined> {
  const put = (body: string, ifMatch?: string): ReturnType<typeof wire.send<PutObjectCommandOutput>> =>
    wire.send<PutObjectCommandOutput>(
      "put",
      key,
      new PutObjectCommand({
        ...wire.object(key),
        Body: Buffer.from(body),
        ...(ifMatch === undefined ? {} : { IfMatch: ifMatch }),
      }),
    );
  const tagOf = (etag: string | undefined): string => (etag ?? "").replace(/^W\//i, "").replaceAll('"', "");

  const first = await put("first");
  let tag = tagOf(first.output?.ETag);
  if (tag === "") return undefined;
  const stale = await put("stale", `"${"0".repeat(32)}"`);
  if (stale.error === undefined) return "ignored";
  if (stale.status === 501 || stale.status === 405 || stale.status === 400) return "unsupported";
  const quoted = await put("quoted", `"${tag}"`);
  if (quoted.error === undefined) tag = tagOf(quoted.output?.ETag);
  const bare = await put("bare", tag);
  if (!clear(stale.status) || !clear(quoted.status) || !clear(bare.status)) return undefined;
  if (quoted.error === undefined) return bare.error === undefined ? "either" : "quoted";
  return bare.error === undefined ? "bare" : "neither";
}

function clear(status: number | undefined): boolean {
  return status === 200 || status === 404 || status === 412;
}
