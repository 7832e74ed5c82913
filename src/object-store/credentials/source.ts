import type { S3Credentials } from "../s3-credentials.ts";

export interface LoadedCredentials extends S3Credentials {
  /** Wall clock, milliseconds since 1970. undefined: they do not expire. */
  readonly expiresAtMs: number | undefined;
}

/** One place where credentials may come from. */
export interface CredentialSource {
  /** As in `profile "dev" (AWS_PROFILE)`. */
  readonly name: string;
  /** Where this source is not configured: why, as in "not set: AWS_ACCESS_KEY_ID". */
  readonly missing: string | undefined;
  /** May another `load` give others? */
  readonly renewable: boolean;
  /** Asks once. Rejects with `SourceFailure` only. */
  load(): Promise<LoadedCredentials>;
}

/**
 * - "absent": nothing is there that could be asked, or the configuration of the source is wrong.
 * - "refused": somebody was asked and said no.
 * - "transient": asking again may help.
 */
export type FailureKind = "absent" | "refused" | "transient";

/** Why a source gave nothing. The message is ours alone: what others wrote may hold a secret, so there is no `cause` either. */
export class SourceFailure extends Error {
  readonly kind: FailureKind;

  constructor(kind: FailureKind, message: string) {
    super(message);
    this.name = "SourceFailure";
    this.kind = kind;
  }
}

/** By the status with which somebody refused. */
export function failureOfStatus(status: number, what: string): SourceFailure {
  return new SourceFailure(status >= 500 || status === 429 || status === 408 ? "transient" : "refused", what);
}
