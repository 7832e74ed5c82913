/** Checks of texts that name things in S3. A `…Problem` is the rest of a sentence that begins with the value, or undefined. */

export function bucketProblem(bucket: string): string | undefined {
  if (bucket.length < 3 || bucket.length > 63) return "is not a bucket name: those have 3 to 63 characters";
  if (!/^[a-z0-9][a-z0-9.-]*[a-z0-9]$/.test(bucket)) {
    return "is not a bucket name: those are lower-case letters, digits, dots and hyphens, with a letter or digit at both ends";
  }
  if (bucket.includes("..")) return "is not a bucket name: those have no two dots in a row";
  return /^\d+\.\d+\.\d+\.\d+$/.test(bucket) ? "is not a bucket name: those do not look like an IP address" : undefined;
}

export function prefixProblem(prefix: string): string | undefined {
  if (prefix === "") return undefined;
  if (prefix.startsWith("/") || prefix.endsWith("/")) return "begins or ends with a slash; leave it out";
  if (/\p{Cc}/u.test(prefix)) return "holds control characters";
  // The names of tierlog's own objects need up to 120 bytes of S3's 1,024.
  if (Buffer.byteLength(prefix) > 512) return "is longer than 512 bytes";
  const segments = prefix.split("/");
  if (segments.includes("")) return "holds two slashes in a row";
  return segments.includes(".") || segments.includes("..") ? 'holds "." or ".." between slashes' : undefined;
}

export function regionProblem(region: string): string | undefined {
  return /^[A-Za-z0-9][A-Za-z0-9-]*$/.test(region) ? undefined : 'is not a region name, as in "us-east-1" or "auto"';
}

/** An id, an ARN or an alias; goes into a header. */
export function kmsKeyIdProblem(id: string): string | undefined {
  return /^[A-Za-z0-9:/_.-]{1,2048}$/.test(id) ? undefined : "is not the id, the ARN or the alias of a KMS key";
}

/** Can nobody between us and the store change what is sent? TLS, or this machine. undefined: AWS itself, which is TLS. */
export function isSecureLink(endpoint: string | undefined): boolean {
  if (endpoint === undefined) return true;
  const { protocol, hostname } = new URL(endpoint);
  return protocol === "https:" || isLoopback(hostname);
}

/** The address of the store, without a bucket in its name. `endpoint` undefined: AWS. */
export function storeUrl(endpoint: string | undefined, region: string): string {
  return endpoint ?? `https://s3.${region}.amazonaws.com`;
}

/** `hostname` as `URL` has it, an IPv6 address in brackets. */
export function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "[::1]" || /^127(\.\d+){3}$/.test(hostname);
}

/** The name of a section of AWS's shared files. */
export function profileProblem(profile: string): string | undefined {
  if (profile === "") return "is empty";
  return /[\]\p{Cc}]/u.test(profile) ? "is not the name of a profile" : undefined;
}

export function endpointProblem(endpoint: string): string | undefined {
  if (!URL.canParse(endpoint)) {
    return 'is not a URL, as in "https://s3.example.com" or "http://127.0.0.1:9000"; leave the key out for AWS';
  }
  const url = new URL(endpoint);
  if (url.protocol !== "https:" && url.protocol !== "http:") return "does not begin with https:// or http://";
  if (url.username !== "" || url.password !== "") {
    return "holds a user name or password; use access_key_id and secret_access_key";
  }
  return url.search !== "" || url.hash !== ""
    ? "holds a query or a fragment; leave out what follows ? or #"
    : undefined;
}
