import { createHash, createHmac } from "node:crypto";

import type { HttpRequest } from "../http-exchange.ts";
import type { S3Credential } from "./credentials.ts";
import { S3Refusal } from "./refusal.ts";

/*
 * The server's side of "Signature Version 4 signing process" and, for S3's own rules (path encoded once, payload hash in a
 * header), "Authenticating Requests: Using the Authorization Header", both of the AWS documentation.
 */

const ALGORITHM = "AWS4-HMAC-SHA256";

/** The two families of names: Google's Version 4 is Amazon's with other ones. */
const AMAZON = { algorithm: ALGORITHM, key: "AWS4", service: "s3", end: "aws4_request", prefix: "x-amz-" } as const;
const GOOGLE = {
  algorithm: "GOOG4-HMAC-SHA256",
  key: "GOOG4",
  service: "storage",
  end: "goog4_request",
  prefix: "x-goog-",
} as const;
type Dialect = typeof AMAZON | typeof GOOGLE;

const SKEW_MS_MAX = 15 * 60 * 1000;

interface Verification {
  readonly credentials: readonly S3Credential[];
  /** undefined: any. */
  readonly region: string | undefined;
  readonly nowMs: number;
  /** Google's way too: `GOOG4-HMAC-SHA256` and headers of its own. */
  readonly google?: boolean;
}

/** Who signed a request, and what the signatures of its chunks go on from. */
export interface Signer {
  readonly credential: S3Credential;
  readonly signingKey: Buffer;
  /** As in `20261121T101500Z`. */
  readonly time: string;
  /** As in `20261121/us-east-1/s3/aws4_request`. */
  readonly scope: string;
  readonly signature: string;
}

/** Throws the `S3Refusal` that S3 would answer unless the Authorization header of `request` is right. */
export function verifySignature(
  request: HttpRequest,
  { credentials, region, nowMs, google = false }: Verification,
): Signer {
  const dialect = google ? dialectOf(request) : AMAZON;
  const authorization = readAuthorization(request, dialect);
  const { accessKeyId, date, signedHeaders, signature } = authorization;
  const credential = credentials.find((one) => one.accessKeyId === accessKeyId);
  if (credential === undefined) {
    throw new S3Refusal("InvalidAccessKeyId", { elements: { AWSAccessKeyId: accessKeyId } });
  }
  checkToken(credential, request.headers["x-amz-security-token"], nowMs);
  if (region !== undefined && dialect === AMAZON && authorization.region !== region) {
    throw new S3Refusal("AuthorizationHeaderMalformed", {
      message: `The authorization header is malformed; the region '${authorization.region}' is wrong; expecting '${region}'`,
      elements: { Region: region },
    });
  }
  const time = requestTime(request, dialect, date, nowMs);
  checkSignedHeaders(request, dialect, signedHeaders);

  const scope = `${date}/${authorization.region}/${dialect.service}/${dialect.end}`;
  const canonical = canonicalRequest(request, dialect, signedHeaders);
  const toSign = `${dialect.algorithm}\n${time}\n${scope}\n${sha256Hex(canonical)}`;
  const signingKey = signingKeyOf(credential, dialect, date, authorization.region);
  if (hmac(signingKey, toSign).toString("hex") !== signature) {
    // Amazon repeats all this too, session token included: what clients must keep out of their logs.
    throw new S3Refusal("SignatureDoesNotMatch", {
      elements: {
        AWSAccessKeyId: accessKeyId,
        StringToSign: toSign,
        SignatureProvided: signature,
        CanonicalRequest: canonical,
      },
    });
  }
  return { credential, signingKey, time, scope, signature };
}

/** Signature of the chunk that follows `previous` in a body of signed chunks. */
export function chunkSignature(signer: Signer, previous: string, chunk: Uint8Array): string {
  return followingSignature(signer, "PAYLOAD", previous, `${sha256Hex("")}\n${sha256Hex(chunk)}`);
}

/** Signature of the trailer behind such a body; `lines`: `name:value\n` for each. */
export function trailerSignature(signer: Signer, previous: string, lines: string): string {
  return followingSignature(signer, "TRAILER", previous, sha256Hex(lines));
}

function followingSignature({ signingKey, time, scope }: Signer, what: string, previous: string, rest: string): string {
  return hmac(signingKey, `${ALGORITHM}-${what}\n${time}\n${scope}\n${previous}\n${rest}`).toString("hex");
}

interface Authorization {
  readonly accessKeyId: string;
  readonly date: string;
  readonly region: string;
  readonly signedHeaders: readonly string[];
  readonly signature: string;
}

/** Google refuses a request with headers of both families, whatever its signature. */
function dialectOf({ headers }: HttpRequest): Dialect {
  const names = Object.keys(headers);
  const [amazons, googles] = [AMAZON, GOOGLE].map(({ prefix }) => names.some((name) => name.startsWith(prefix)));
  if (amazons === true && googles === true) {
    throw new S3Refusal("ExcessHeaderValues", { message: "Requests cannot specify both x-amz and x-goog headers" });
  }
  return googles === true ? GOOGLE : AMAZON;
}

/** The SHA-256 of the payload, or what stands in its place, by the header of whoever signed. */
export function payloadHash(headers: HttpRequest["headers"]): string | undefined {
  return headers["x-amz-content-sha256"] ?? headers["x-goog-content-sha256"];
}

function readAuthorization({ headers, url }: HttpRequest, dialect: Dialect): Authorization {
  const header = headers["authorization"];
  if (header === undefined) {
    if (/[?&]X-Amz-Signature=/i.test(url)) {
      throw new S3Refusal("NotImplemented", { message: "This endpoint does not take presigned URLs" });
    }
    throw new S3Refusal("AccessDenied");
  }
  if (!header.startsWith(`${dialect.algorithm} `)) {
    throw new S3Refusal("InvalidRequest", {
      message: `The authorization mechanism you have provided is not supported. Please use ${dialect.algorithm}.`,
    });
  }
  const fields = new Map(
    header
      .slice(dialect.algorithm.length + 1)
      .split(",")
      .map((field) => field.trim().split("=", 2) as [string, string]),
  );
  const [, accessKeyId, date, region] =
    /^([^/]+)\/(\d{8})\/([^/]+)\/(?:s3\/aws4_request|storage\/goog4_request)$/.exec(fields.get("Credential") ?? "") ??
    [];
  const signedHeaders = fields.get("SignedHeaders")?.split(";");
  const signature = fields.get("Signature");
  if (
    accessKeyId === undefined ||
    date === undefined ||
    region === undefined ||
    signedHeaders === undefined ||
    signature === undefined
  ) {
    throw new S3Refusal("AuthorizationHeaderMalformed");
  }
  return { accessKeyId, date, region, signedHeaders, signature };
}

function checkToken(credential: S3Credential, token: string | undefined, nowMs: number): void {
  if (token !== credential.sessionToken) {
    // Without its token the access key of temporary credentials is not known.
    if (token === undefined) {
      throw new S3Refusal("InvalidAccessKeyId", { elements: { AWSAccessKeyId: credential.accessKeyId } });
    }
    throw new S3Refusal("InvalidToken", { elements: { "Token-0": token } });
  }
  if (credential.expiresAtMs !== undefined && nowMs >= credential.expiresAtMs) {
    throw new S3Refusal("ExpiredToken", token === undefined ? {} : { elements: { "Token-0": token } });
  }
}

function requestTime({ headers }: HttpRequest, { prefix }: Dialect, date: string, nowMs: number): string {
  const time = headers[`${prefix}date`] ?? "";
  const [, year, month, day, hour, minute, second] = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(time) ?? [];
  const timeMs = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  if (Number.isNaN(timeMs)) {
    throw new S3Refusal("AccessDenied", { message: "AWS authentication requires a valid x-amz-date header" });
  }
  if (Math.abs(nowMs - timeMs) > SKEW_MS_MAX) {
    throw new S3Refusal("RequestTimeTooSkewed", {
      elements: {
        RequestTime: time,
        ServerTime: new Date(nowMs).toISOString(),
        MaxAllowedSkewMilliseconds: String(SKEW_MS_MAX),
      },
    });
  }
  if (!time.startsWith(date)) {
    throw new S3Refusal("AuthorizationHeaderMalformed", {
      message: `The authorization header is malformed; the date '${date}' does not match x-amz-date`,
    });
  }
  return time;
}

/** What is not signed could be changed on the way. */
function checkSignedHeaders({ headers }: HttpRequest, { prefix }: Dialect, signedHeaders: readonly string[]): void {
  const unsigned = Object.keys(headers).filter(
    (name) => (name === "host" || name.startsWith(prefix)) && !signedHeaders.includes(name),
  );
  if (unsigned.length > 0) {
    throw new S3Refusal("AccessDenied", {
      message: "There were headers present in the request which were not signed",
      elements: { HeadersNotSigned: unsigned.join(", ") },
    });
  }
  if (payloadHash(headers) === undefined) {
    throw new S3Refusal("InvalidRequest", {
      message: "Missing required header for this request: x-amz-content-sha256",
    });
  }
}

function canonicalRequest(
  { method, url, headers }: HttpRequest,
  { prefix }: Dialect,
  signedHeaders: readonly string[],
): string {
  const questionMark = url.indexOf("?");
  const path = questionMark === -1 ? url : url.slice(0, questionMark);
  const query = questionMark === -1 ? "" : url.slice(questionMark + 1);
  return [
    method,
    path.split("/").map(reencoded).join("/"),
    canonicalQuery(query),
    ...signedHeaders.map((name) => `${name}:${(headers[name] ?? "").trim().replace(/ +/g, " ")}`),
    "",
    signedHeaders.join(";"),
    headers[`${prefix}content-sha256`] ?? "",
  ].join("\n");
}

function canonicalQuery(query: string): string {
  if (query === "") return "";
  const pairs = query.split("&").map((pair) => {
    const equals = pair.indexOf("=");
    const name = equals === -1 ? pair : pair.slice(0, equals);
    const value = equals === -1 ? "" : pair.slice(equals + 1);
    return [reencoded(name.replaceAll("+", " ")), reencoded(value.replaceAll("+", " "))] as const;
  });
  // By name, then value, in the order of bytes; after the encoding all is ASCII.
  return pairs
    .map(([name, value]) => `${name}=${value}`)
    .sort((a, b) => compareAscii(a.slice(0, a.indexOf("=")), b.slice(0, b.indexOf("="))) || compareAscii(a, b))
    .join("&");
}

function compareAscii(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

/** As AWS escapes: everything but letters, digits and `-._~`. However the client escaped. */
function reencoded(escaped: string): string {
  let plain: string;
  try {
    plain = decodeURIComponent(escaped);
  } catch {
    throw new S3Refusal("InvalidArgument", { message: "The URL is not well escaped" });
  }
  return encodeURIComponent(plain).replace(/[!'()*]/g, (found) => `%${found.charCodeAt(0).toString(16).toUpperCase()}`);
}

function signingKeyOf({ secretAccessKey }: S3Credential, dialect: Dialect, date: string, region: string): Buffer {
  let key: Buffer = Buffer.from(`${dialect.key}${secretAccessKey}`, "utf8");
  for (const step of [date, region, dialect.service, dialect.end]) key = hmac(key, step);
  return key;
}

function hmac(key: Buffer, message: string): Buffer {
  return createHmac("sha256", key).update(message, "utf8").digest();
}

function sha256Hex(data: string | Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
}
