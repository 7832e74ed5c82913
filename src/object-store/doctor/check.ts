import type { ObjectKey } from "../../domain.ts";
import type { Clock } from "../../runtime/clock.ts";
import type { Random } from "../../runtime/random.ts";
import type { ObjectStore } from "../object-store.ts";
import type { RaceCreate } from "../probe/race-create.ts";
import type { S3Wire } from "../probe/s3-wire.ts";

/**
 * What a check that is not ok means for the verdict. "required": the store is unusable. "fencing": it does for a single writer
 * only. "advice": it works, something is lost or should be known. "info": a fact, neither good nor bad.
 */
export type Severity = "required" | "fencing" | "advice" | "info";

export interface StoreCheck {
  readonly name: string;
  /** undefined: not run, `detail` says why. */
  readonly ok: boolean | undefined;
  /** What was seen, one line. */
  readonly detail: string;
  readonly severity: Severity;
  /** What to do about it; only where `ok` is false. */
  readonly hint: string | undefined;
}

/** What one check found. */
export interface Finding {
  readonly ok: boolean | undefined;
  readonly detail: string;
  /** Instead of the hint of the check. */
  readonly hint?: string;
}

/** IAM actions by the name that policies give them. */
export type S3Action =
  | "s3:PutObject"
  | "s3:GetObject"
  | "s3:ListBucket"
  | "s3:DeleteObject"
  | "s3:AbortMultipartUpload"
  | "s3:ListMultipartUploadParts"
  | "s3:ListBucketMultipartUploads";

export interface CheckSpec {
  readonly name: string;
  readonly severity: Severity;
  readonly hint: string;
  /** Not run where one of them is denied: it would only fail for that. */
  readonly needs: readonly S3Action[];
  readonly run: (lab: Lab) => Promise<Finding>;
}

/** A check of single S3 requests. */
export interface WireCheckSpec extends Omit<CheckSpec, "run"> {
  readonly run: (wire: S3Wire, lab: Lab) => Promise<Finding>;
}

/** What checks work with. All of it ends with the signal of the run, and everything written is removed at its end. */
export interface Lab {
  /** Retries what may be repeated. */
  readonly store: ObjectStore;
  /** The same, with time for calls that carry megabytes. */
  readonly bulk: ObjectStore;
  /** One attempt per call. */
  readonly once: ObjectStore;
  /** The same store over connections of its own; retries as well. */
  readonly other: ObjectStore;
  readonly race: RaceCreate;
  /** By which that asks to create, for messages. */
  readonly createHeader: string;
  /** What all keys of this run begin with. */
  readonly prefix: string;
  /** A key of this run; the clean-up deletes what is under it. */
  readonly key: (name: string) => ObjectKey;
  readonly clock: Clock;
  readonly random: Random;
  /** Requests at one time, at most. */
  readonly concurrency: number;
  /** Found out by the first checks. */
  readonly denied: Set<S3Action>;
  /** Raw uploads that the clean-up must abort unless they end before. */
  readonly uploads: Set<RawUpload>;
  /** undefined until measured. */
  latencyMs: { readonly p50: number; readonly p99: number } | undefined;
}

export interface RawUpload {
  readonly key: ObjectKey;
  readonly uploadId: string;
}

export const ok = (detail: string): Finding => ({ ok: true, detail });
export const bad = (detail: string, hint?: string): Finding => ({
  ok: false,
  detail,
  ...(hint === undefined ? {} : { hint }),
});
export const skipped = (detail: string): Finding => ({ ok: undefined, detail });

export function sameBytes(a: Uint8Array | undefined, b: Uint8Array): boolean {
  return a !== undefined && Buffer.compare(a, b) === 0;
}
