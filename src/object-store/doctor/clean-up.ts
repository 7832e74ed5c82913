import { ListMultipartUploadsCommand, type ListMultipartUploadsOutput } from "@aws-sdk/client-s3";

import type { ObjectKey } from "../../domain.ts";
import { sleep } from "../../runtime/clock.ts";
import { Semaphore } from "../../runtime/mutex.ts";
import type { ObjectStore } from "../object-store.ts";
import type { S3Wire } from "../probe/s3-wire.ts";
import { bad, ok, type Finding, type Lab } from "./check.ts";
import { keysOf } from "./consistency-checks.ts";
import type { Traces } from "./lab-store.ts";
import { abortRaw } from "./raw-upload.ts";

export interface CleanUp {
  /** Retries; ends with the time of the clean-up, not with that of the run. */
  readonly store: ObjectStore;
  readonly wire: S3Wire | undefined;
  readonly lab: Lab;
  readonly prefix: string;
  readonly traces: Traces;
}

const LIST_AGAIN = 5;
const LIST_AGAIN_MS = 500;

/** Removes what a run wrote. Never rejects: it tells what it could not remove. */
export async function cleanUp(options: CleanUp): Promise<Finding> {
  const uploads = await abortUploads(options);
  const objects = await deleteObjects(options);
  const left = [objects, uploads]
    .filter((text) => text !== undefined)
    .map((text) => text.replaceAll(options.prefix, "…/"));
  if (left.length === 0) return ok("everything that was written is gone");
  return bad(`left behind below ${options.prefix}: ${left.join("; ")}`);
}

/** What is left of them, in words. */
async function deleteObjects({ store, lab, prefix, traces }: CleanUp): Promise<string | undefined> {
  const denied = lab.denied.has("s3:DeleteObject");
  if (denied) return `up to ${traces.keys.size} objects (s3:DeleteObject is denied)`;
  const keys = new Set(traces.keys);
  let listed = true;
  try {
    // More than was noted can be there only if a request of ours landed late.
    for (const key of await keysOf(store, prefix)) keys.add(key);
  } catch {
    listed = false;
  }
  let problem = await attempt(() => store.delete([...keys]));
  // Not every store takes a multi-delete.
  if (problem !== undefined) problem = await deleteSingly(store, [...keys], lab.concurrency);
  if (!listed) return problem;
  try {
    let left = await keysOf(store, prefix);
    // A store whose listings lag behind must not be told to have kept what is gone.
    for (let again = 0; left.length > 0 && problem === undefined && again < LIST_AGAIN; again++) {
      await sleep(lab.clock, LIST_AGAIN_MS);
      left = await keysOf(store, prefix);
    }
    return left.length === 0 ? undefined : `${left.length} objects (${problem ?? "no error"})`;
  } catch (error) {
    return problem ?? messageOf(error);
  }
}

/** The last problem. */
async function deleteSingly(
  store: ObjectStore,
  keys: readonly ObjectKey[],
  concurrency: number,
): Promise<string | undefined> {
  const semaphore = new Semaphore(concurrency);
  const problems = await Promise.all(keys.map((key) => semaphore.run(() => attempt(() => store.delete([key])))));
  return problems.findLast((problem) => problem !== undefined);
}

async function abortUploads({ wire, lab, prefix, traces }: CleanUp): Promise<string | undefined> {
  const problems: string[] = [];
  for (const upload of traces.uploads) {
    const problem = await attempt(() => upload.abort());
    if (problem !== undefined) problems.push(problem);
  }
  if (wire !== undefined) {
    // Also those whose start was never answered.
    const open = [...lab.uploads, ...(await openUploads(wire, prefix))];
    const byId = new Map(open.map((upload) => [upload.uploadId, upload]));
    for (const upload of byId.values()) {
      const problem = await attempt(async () => {
        const { error, code } = await abortRaw(wire, lab, upload);
        if (error !== undefined && code !== "NoSuchUpload" && code !== "NoSuchKey") throw error;
      });
      if (problem !== undefined) problems.push(problem);
    }
  }
  if (problems.length === 0) return undefined;
  const reason = lab.denied.has("s3:AbortMultipartUpload") ? "s3:AbortMultipartUpload is denied" : problems.at(-1);
  return `${problems.length} multipart uploads (${reason ?? ""})`;
}

/** Those of this run that the store lists; none where it does not. */
async function openUploads(
  wire: S3Wire,
  prefix: string,
): Promise<{ readonly key: ObjectKey; readonly uploadId: string }[]> {
  const strip = wire.fullKey("").length;
  try {
    const { output } = await wire.send<ListMultipartUploadsOutput>(
      "list",
      "uploads",
      new ListMultipartUploadsCommand({ Bucket: wire.bucket, Prefix: wire.fullKey(prefix) }),
    );
    return (output?.Uploads ?? [])
      .filter(({ Key = "" }) => Key.startsWith(wire.fullKey(prefix)))
      .map(({ Key = "", UploadId = "" }) => ({ key: Key.slice(strip) as ObjectKey, uploadId: UploadId }));
  } catch {
    return [];
  }
}

async function attempt(act: () => Promise<unknown>): Promise<string | undefined> {
  try {
    await act();
    return undefined;
  } catch (error) {
    return messageOf(error);
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
