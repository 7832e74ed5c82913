/** Status and message by error code, as "Error responses" of Amazon S3's API reference lists them. */
const REFUSALS = {
  AccessDenied: [403, "Access Denied"],
  AuthorizationHeaderMalformed: [400, "The authorization header that you provided is not valid."],
  BadDigest: [400, "The Content-MD5 or checksum value that you specified did not match what the server received."],
  BucketAlreadyOwnedByYou: [409, "The bucket that you tried to create already exists, and you own it."],
  BucketNotEmpty: [409, "The bucket that you tried to delete is not empty."],
  ConditionalRequestConflict: [
    409,
    "The conditional request cannot succeed due to a conflicting operation against this resource.",
  ],
  EntityTooLarge: [400, "Your proposed upload exceeds the maximum allowed object size."],
  EntityTooSmall: [400, "Your proposed upload is smaller than the minimum allowed object size."],
  /** Google's. */
  ExcessHeaderValues: [400, "A header that may have one value has several."],
  ExpiredToken: [400, "The provided token has expired."],
  FileAlreadyExists: [409, "The object you specified already exists and can not be overwritten."],
  IllegalLocationConstraintException: [
    400,
    "The specified location constraint is not valid for the Region of this endpoint.",
  ],
  IncompleteBody: [400, "You did not provide the number of bytes specified by the Content-Length HTTP header."],
  InternalError: [500, "We encountered an internal error. Please try again."],
  InvalidAccessKeyId: [403, "The AWS access key ID that you provided does not exist in our records."],
  InvalidArgument: [400, "Invalid Argument"],
  InvalidBucketName: [400, "The specified bucket is not valid."],
  InvalidDigest: [400, "The Content-MD5 or checksum value that you specified is not valid."],
  InvalidPart: [
    400,
    "One or more of the specified parts could not be found. The part might not have been uploaded, or the specified ETag might not have matched the uploaded part's ETag.",
  ],
  InvalidPartOrder: [400, "The list of parts was not in ascending order. The parts list must be specified in order."],
  InvalidRange: [416, "The requested range is not satisfiable"],
  InvalidRequest: [400, "Invalid Request"],
  InvalidToken: [400, "The provided token is malformed or otherwise not valid."],
  KeyTooLongError: [400, "Your key is too long"],
  "KMS.NotFoundException": [400, "The KMS key does not exist."],
  MalformedXML: [
    400,
    "The XML that you provided was not well formed or did not validate against our published schema.",
  ],
  MetadataTooLarge: [400, "Your metadata headers exceed the maximum allowed metadata size"],
  MissingContentLength: [411, "You must provide the Content-Length HTTP header."],
  NoSuchBucket: [404, "The specified bucket does not exist"],
  NoSuchKey: [404, "The specified key does not exist."],
  NoSuchUpload: [
    404,
    "The specified multipart upload does not exist. The upload ID might be invalid, or the multipart upload might have been aborted or completed.",
  ],
  NotImplemented: [501, "A header or query you provided implies functionality that is not implemented."],
  PreconditionFailed: [412, "At least one of the preconditions that you specified did not hold."],
  /** Not in Amazon's list, whose buckets have no limit; Ceph and MinIO answer so. */
  QuotaExceeded: [403, "The endpoint holds as many bytes as it may."],
  RequestTimeTooSkewed: [403, "The difference between the request time and the server's time is too large."],
  SignatureDoesNotMatch: [
    403,
    "The request signature that the server calculated does not match the signature that you provided. Check your AWS secret access key and signing method.",
  ],
  SlowDown: [503, "Please reduce your request rate."],
  /** Ceph's, for an operation that lost a race inside its object store. */
  UnknownError: [500, "Unknown error"],
  XAmzContentSHA256Mismatch: [400, "The provided 'x-amz-content-sha256' header does not match what was computed."],
} as const satisfies Readonly<Record<string, readonly [status: number, message: string]>>;

export type S3ErrorCode = keyof typeof REFUSALS;

interface RefusalDetails {
  /** Where a server answers the code with another status than Amazon lists. */
  readonly status?: number;
  readonly message?: string;
  /** Further elements of the XML, in this order. */
  readonly elements?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
}

/** What is answered in place of a result. The endpoint throws it where it finds the reason; a fault makes it up. */
export class S3Refusal extends Error {
  readonly code: S3ErrorCode;
  readonly status: number;
  readonly elements: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string>>;

  constructor(code: S3ErrorCode, { status, message, elements, headers }: RefusalDetails = {}) {
    super(message ?? REFUSALS[code][1]);
    this.code = code;
    this.status = status ?? REFUSALS[code][0];
    this.elements = elements ?? {};
    this.headers = headers ?? {};
  }
}
