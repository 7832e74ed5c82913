import { InvalidArgumentError } from "../../errors.ts";
import { S3Refusal } from "./refusal.ts";

/** Names of the IAM actions that a request needs. */
export type S3Action =
  | "s3:ListAllMyBuckets"
  | "s3:CreateBucket"
  | "s3:DeleteBucket"
  | "s3:ListBucket"
  | "s3:GetObject"
  | "s3:PutObject"
  | "s3:DeleteObject"
  | "s3:ListBucketMultipartUploads"
  | "s3:ListMultipartUploadParts"
  | "s3:AbortMultipartUpload"
  | "kms:GenerateDataKey"
  | "kms:Decrypt";

/** What a client signs with, and what the endpoint lets it do. */
export interface S3Credential {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Of temporary credentials: must come with every request. */
  readonly sessionToken?: string;
  /** Server time in milliseconds since 1970 from which on the answer is ExpiredToken. Default: never. */
  readonly expiresAtMs?: number;
  /** Default: none, everything is allowed. */
  readonly deniedActions?: readonly S3Action[];
}

/** Throws `InvalidArgumentError` for an empty list, an empty field or an access key that is there twice. */
export function checkCredentials(credentials: readonly S3Credential[]): void {
  if (credentials.length === 0) {
    throw new InvalidArgumentError("credentials", [], "is empty: nobody could send a request");
  }
  const seen = new Set<string>();
  for (const { accessKeyId, secretAccessKey } of credentials) {
    if (accessKeyId === "" || secretAccessKey === "") {
      throw new InvalidArgumentError("credentials", accessKeyId, "access key and secret must not be empty");
    }
    if (seen.has(accessKeyId)) {
      throw new InvalidArgumentError("credentials", accessKeyId, `the access key "${accessKeyId}" is there twice`);
    }
    seen.add(accessKeyId);
  }
}

/** Throws `AccessDenied`. */
export function mustAllow(credential: S3Credential, action: S3Action): void {
  if (credential.deniedActions?.includes(action) !== true) return;
  throw new S3Refusal("AccessDenied", {
    message: `User ${credential.accessKeyId} is not authorized to perform: ${action}`,
  });
}
