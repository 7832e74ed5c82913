import { GetObjectCommand, HeadObjectCommand, PutObjectCommand } from "@aws-sdk/client-s3";

import type { ObjectKey } from "../../domain.ts";
import { encryptionSaid, isSaidAsAsked } from "../s3-encryption.ts";
import { answered, type S3Wire } from "./s3-wire.ts";

export interface EncryptionFinding {
  /** The store does what was asked for; also where nothing was. */
  readonly ok: boolean;
  /** For people, one line. */
  readonly detail: string;
}

/**
 * Puts an object under `key`, which stays, and looks whether the store keeps it encrypted as asked: it must say so, and a customer's
 * key must be needed to read it. Some servers take the headers and store plainly. Two to three requests. Rejects with
 * `ObjectStoreError` where the store gives no answer, or a 403 of which nobody knows what it forbids.
 */
export async function checkEncryption(wire: S3Wire, key: ObjectKey): Promise<EncryptionFinding> {
  const { encryption } = wire;
  const put = await wire.send("put", key, new PutObjectCommand({ ...wire.object(key), Body: Buffer.from("at rest") }));
  if (put.error !== undefined) {
    if (encryption !== undefined && (put.status === 400 || put.status === 501)) {
      return { ok: false, detail: `the store refuses it: ${answered(put)}` };
    }
    throw put.error;
  }
  const head = await wire.send("head", key, new HeadObjectCommand(wire.object(key)));
  if (head.error !== undefined) throw head.error;
  const said = encryptionSaid(head.headers) ?? encryptionSaid(put.headers);
  if (encryption === undefined) {
    return { ok: true, detail: `nothing was asked for; the store says ${said ?? "nothing of it"}` };
  }
  if (!isSaidAsAsked(encryption, said)) {
    return { ok: false, detail: `the store took the request, and says ${said ?? "nothing of it"}: it ignores it` };
  }
  if (encryption.kind === "sse-c") {
    const plain = await wire.send("get", key, new GetObjectCommand(wire.object(key)), { plain: true });
    if (plain.error === undefined) return { ok: false, detail: "the store gives the object out without the key" };
    if (plain.status !== 400 && plain.status !== 403) throw plain.error;
    return { ok: true, detail: `with the customer's key; without it ${answered(plain)}` };
  }
  return { ok: true, detail: `the store says ${said ?? ""}` };
}
