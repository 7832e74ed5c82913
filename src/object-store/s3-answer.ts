/** What an S3 server answered, or how it came to none; as far as it may be shown and decided upon. */
export interface S3Answer {
  /** undefined: no answer came. */
  readonly status: number | undefined;
  /** S3's own code. undefined: the answer holds none, so perhaps it is not S3's: a proxy's page, or an answer without a body. */
  readonly code: string | undefined;
  /** The head came, the body not to its end. */
  readonly brokeOff: boolean;
  readonly requestId: string | undefined;
  /** Of the bucket, where it lives in another than was asked. */
  readonly region: string | undefined;
  /** The text complains about a checksum, or about a payload that is not signed. */
  readonly aboutChecksum: boolean;
  /** The text says that one is required. */
  readonly wantsChecksum: boolean;
  /** Where no answer came: Node's code, as in `ECONNRESET`, or a name. */
  readonly network: string;
  /** A stand-in for the SDK's error, which carries the answer. "SignatureDoesNotMatch" repeats headers with the session token. */
  readonly cause: Error;
}

/** Names that the SDK makes up where an answer has no code that it can read. */
const NO_CODE: ReadonlySet<string> = new Set([
  "Unknown",
  "UnknownError",
  "Error",
  "NotFound",
  "SyntaxError",
  "S3Error",
]);

/** Node's codes for a connection that ends within an answer. */
const BROKEN: ReadonlySet<string> = new Set(["ECONNRESET", "EPIPE", "ETIMEDOUT", "ERR_STREAM_PREMATURE_CLOSE"]);

/** Of what the SDK throws: the only place that knows its shape. */
export function readAnswer(thrown: unknown): S3Answer {
  const metadata = field(thrown, "$metadata");
  const status = field(metadata, "httpStatusCode");
  const requestId = field(metadata, "requestId");
  const name = nameOf(thrown);
  const code = codeOf(field(thrown, "Code")) ?? (NO_CODE.has(name) ? undefined : name);
  const network = networkCode(thrown);
  const cause = new Error(network === name ? name : `${name}: ${network}`);
  cause.name = "S3Error";
  return {
    status: typeof status === "number" ? status : undefined,
    code: typeof status === "number" ? code : undefined,
    brokeOff: typeof status === "number" && BROKEN.has(network),
    requestId: typeof requestId === "string" && requestId !== "" ? requestId : undefined,
    region: regionOf(thrown),
    aboutChecksum: /checksum|unsigned.?payload/i.test(textOf(thrown)),
    wantsChecksum: /(content-md5|checksum).*\brequired\b/i.test(textOf(thrown)),
    network,
    cause,
  };
}

/** When the store refused a request for its time: what its clock says. */
export function serverTime(thrown: unknown): string | undefined {
  const time = field(thrown, "ServerTime");
  return typeof time === "string" ? time : undefined;
}

/** Node's code, or the name of the error. */
function networkCode(thrown: unknown): string {
  const code = field(thrown, "code");
  return typeof code === "string" && /^[A-Z0-9_]+$/.test(code) ? code : nameOf(thrown);
}

/** S3's code for what went wrong, as in "NoSuchBucket", or the name of the SDK's error. */
function nameOf(thrown: unknown): string {
  return codeOf(field(thrown, "name")) ?? "UnknownError";
}

/** Taken from the answer's body: only what looks like a code, however odd the server. */
function codeOf(value: unknown): string | undefined {
  return typeof value === "string" && /^[A-Za-z0-9._-]{1,64}$/.test(value) ? value : undefined;
}

function regionOf(thrown: unknown): string | undefined {
  const header = field(field(field(thrown, "$response"), "headers"), "x-amz-bucket-region");
  const region = header ?? field(thrown, "Region");
  return typeof region === "string" && /^[a-z0-9-]{1,40}$/.test(region) ? region : undefined;
}

/** Looked at, never shown. */
function textOf(thrown: unknown): string {
  const message = field(thrown, "message");
  return typeof message === "string" ? message : "";
}

function field(of: unknown, name: string): unknown {
  return typeof of === "object" && of !== null ? (of as Record<string, unknown>)[name] : undefined;
}
