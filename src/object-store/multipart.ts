import type { ETag } from "../domain.ts";
import { InvalidArgumentError, ObjectStoreError, isTierlogError } from "../errors.ts";
import type { UploadedPart } from "./object-store.ts";

/** S3's limits. The smallest size does not hold for the last part of an upload. */
export const PART_BYTES_MIN = 5 * 1024 * 1024;
export const PARTS_MAX = 10_000;

export function checkPartNumber(partNumber: number): void {
  if (!Number.isSafeInteger(partNumber) || partNumber < 1 || partNumber > PARTS_MAX) {
    throw new InvalidArgumentError("partNumber", partNumber, `must be an integer from 1 to ${PARTS_MAX}`);
  }
}

/** Throws `InvalidArgumentError` for a list that no store can complete; some stores would take it, and make another object. */
export function checkParts(parts: readonly UploadedPart[]): void {
  if (parts.length === 0) throw new InvalidArgumentError("parts", parts, "an upload without parts cannot be completed");
  let last = 0;
  for (const { partNumber, etag } of parts) {
    checkPartNumber(partNumber);
    if (partNumber <= last) {
      throw new InvalidArgumentError("parts", partNumber, `part ${partNumber} must not follow part ${last}`);
    }
    if (etag === "") throw new InvalidArgumentError("parts", etag, `part ${partNumber} has no ETag`);
    last = partNumber;
  }
}

export function totalBytes(parts: readonly UploadedPart[]): number {
  return parts.reduce((sum, part) => sum + part.sizeBytes, 0);
}

/**
 * For stores that assemble the object themselves: the parts held that `named` stand for, in order. Throws what S3 answers with
 * 400 (Ceph refuses a subset too, so it is refused everywhere).
 */
export function matchParts<Held extends { readonly etag: ETag; readonly sizeBytes: number }>(
  key: string,
  named: readonly UploadedPart[],
  held: ReadonlyMap<number, Held>,
): readonly Held[] {
  if (named.length !== held.size) throw refused(key, `${named.length} parts were named, the upload has ${held.size}`);
  return named.map(({ partNumber, etag }, index) => {
    const part = held.get(partNumber);
    if (part?.etag !== etag) throw refused(key, `part ${partNumber} was not uploaded, or was replaced`);
    if (index < named.length - 1 && part.sizeBytes < PART_BYTES_MIN) {
      throw refused(key, `part ${partNumber} is not the last and has ${part.sizeBytes} bytes, less than 5 MiB`);
    }
    return part;
  });
}

/** What `putPart` throws for an upload that the store does not know. */
export function uploadGone(key: string): ObjectStoreError {
  return new ObjectStoreError(
    `uploadPart ${key}: the upload does not exist: it was completed or aborted, by a lifecycle rule perhaps`,
    { operation: "uploadPart", key, status: 404, retryable: false },
  );
}

/**
 * Did the store end the upload behind our back (a lifecycle rule, an operator)? Whatever else was in doubt, only the name of that
 * upload was: the same bytes may go under another one.
 */
export function isUploadGone(error: unknown): boolean {
  if (!isTierlogError(error) || error.code !== "TIERLOG_OBJECT_STORE") return false;
  const { status, operation } = error as ObjectStoreError;
  return status === 404 && (operation === "uploadPart" || operation === "completeMultipart");
}

function refused(key: string, problem: string): ObjectStoreError {
  return new ObjectStoreError(`completeMultipart ${key}: ${problem}`, {
    operation: "completeMultipart",
    key,
    status: 400,
    retryable: false,
  });
}
