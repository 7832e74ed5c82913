import { createHash, createHmac } from "node:crypto";

/** A request as the SDK has just signed it, with the headers of Amazon's signature. */
export interface SignedRequest {
  readonly method: string;
  /** Escaped. */
  readonly path: string;
  /** Not escaped. */
  readonly query?: Readonly<Record<string, string | readonly string[] | null>>;
  readonly headers: Record<string, string>;
}

const ALGORITHM = "GOOG4-HMAC-SHA256";
const AMAZON = "x-amz-";
const GOOGLE = "x-goog-";

/** Nodes on the way may change these; Amazon's signers leave them out as well. */
const UNSIGNED: ReadonlySet<string> = new Set(["authorization", "connection", "content-length", "user-agent"]);

/**
 * Signs `request` again, in place, in Google's way, at the time at which it was signed before: Google refuses requests with headers
 * of both families (400 ExcessHeaderValues), and Amazon's signature needs some of its own. The scheme is Amazon's Version 4 with
 * other names; "V4 signing process with your own program" and "Migrating from Amazon S3" of the Cloud Storage documentation.
 * REQUIRES: `key` is an HMAC key of Cloud Storage.
 */
export function signForGoogle(
  request: SignedRequest,
  key: { readonly accessKeyId: string; readonly secretAccessKey: string },
): void {
  const { headers } = request;
  for (const [name, value] of Object.entries(headers)) {
    if (!name.startsWith(AMAZON)) continue;
    delete headers[name];
    const checksum = name === "x-amz-checksum-crc32c";
    if (checksum) headers["x-goog-hash"] = `crc32c=${value}`;
    else if (name === "x-amz-date" || name === "x-amz-content-sha256") {
      headers[GOOGLE + name.slice(AMAZON.length)] = value;
    }
  }
  const time = headers["x-goog-date"] ?? "";
  const payloadHash = headers["x-goog-content-sha256"] ?? "";

  const signed = Object.entries(headers)
    .map(([name, value]) => [name.toLowerCase(), value.trim().replace(/ +/g, " ")] as const)
    .filter(([name]) => !UNSIGNED.has(name))
    .sort(([a], [b]) => (a < b ? -1 : 1));
  const names = signed.map(([name]) => name).join(";");
  const canonical = [
    request.method,
    request.path,
    canonicalQuery(request.query ?? {}),
    ...signed.map(([name, value]) => `${name}:${value}`),
    "",
    names,
    payloadHash,
  ].join("\n");

  const scope = [time.slice(0, 8), "auto", "storage", "goog4_request"];
  const toSign = [ALGORITHM, time, scope.join("/"), createHash("sha256").update(canonical).digest("hex")].join("\n");
  let signingKey: Buffer = Buffer.from(`GOOG4${key.secretAccessKey}`, "utf8");
  for (const step of scope) signingKey = hmac(signingKey, step);
  const signature = hmac(signingKey, toSign).toString("hex");
  headers["authorization"] =
    `${ALGORITHM} Credential=${key.accessKeyId}/${scope.join("/")}, SignedHeaders=${names}, Signature=${signature}`;
}

function canonicalQuery(query: NonNullable<SignedRequest["query"]>): string {
  return Object.entries(query)
    .flatMap(([name, value]) =>
      (typeof value === "string" || value === null ? [value ?? ""] : value).map(
        (one) => `${escaped(name)}=${escaped(one)}`,
      ),
    )
    .sort()
    .join("&");
}

/** Everything but letters, digits and `-._~`. */
function escaped(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (found) => `%${found.charCodeAt(0).toString(16).toUpperCase()}`);
}

function hmac(key: Buffer, message: string): Buffer {
  return createHmac("sha256", key).update(message, "utf8").digest();
}
