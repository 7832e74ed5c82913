import { createHash } from "node:crypto";

import { bareETag } from "../../object-store/etag.ts";
import type { S3Trait } from "./character.ts";
import type { Encryption } from "./encryption.ts";

type Traits = ReadonlySet<S3Trait>;

/** MD5 of the bytes, as S3's tags of objects and parts are where their encryption does not forbid it. */
export function tagOf(bytes: Uint8Array, encryption: Encryption, generation: number): string {
  const hash = createHash("md5").update(bytes);
  // With KMS and customer keys a tag is no MD5 of the content. Who computes one, to compare, must fail here.
  if (encryption.kind === "kms" || encryption.kind === "customer") hash.update(`generation ${generation}`);
  return hash.digest("hex");
}

/** MD5 of the MD5s of the parts, and their number. */
export function tagOfParts(tags: readonly string[]): string {
  const hash = createHash("md5");
  for (const tag of tags) hash.update(Buffer.from(tag, "hex"));
  return `${hash.digest("hex")}-${tags.length}`;
}

/** The tag as this server writes it; "" where it writes none. */
export function writtenTag(etag: string, traits: Traits): string {
  if (traits.has("no-etags")) return "";
  if (traits.has("bare-etags")) return etag;
  return traits.has("weak-etags") ? `W/"${etag}"` : `"${etag}"`;
}

export function tagHeader(etag: string, traits: Traits): Readonly<Record<string, string>> {
  const written = writtenTag(etag, traits);
  return written === "" ? {} : { etag: written };
}

/** Does `If-Match: header` of a write hold? The whole value is compared, as Amazon and Ceph do, each in its own spelling. */
export function matchesOnWrite(header: string, etag: string, traits: Traits): boolean {
  if (traits.has("no-etags")) return false;
  if (traits.has("bare-etags") || traits.has("matches-bare-etags")) return header === etag;
  return header === `"${etag}"` || (traits.has("weak-etags") && header === `W/"${etag}"`);
}

/** Does one tag of `If-Match` or `If-None-Match` of a read name `etag`? Any spelling. */
export function matchesOnRead(header: string, etag: string, traits: Traits): boolean {
  if (header.trim() === "*") return true;
  return !traits.has("no-etags") && header.split(",").some((one) => bareETag(one.trim()) === etag);
}
