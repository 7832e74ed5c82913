import { S3Refusal } from "./refusal.ts";

const KEPT = new Set([
  "cache-control",
  "content-disposition",
  "content-encoding",
  "content-language",
  "content-type",
  "expires",
]);

/** S3's limit for names and values together. */
const METADATA_BYTES_MAX = 2048;

type Headers = Readonly<Record<string, string>>;

/** What an object keeps of the headers it was written with: user metadata and what describes the content. */
export function readStoredHeaders(headers: Headers): Headers {
  const kept: Record<string, string> = {};
  let metadataBytes = 0;
  for (const [name, value] of Object.entries(headers)) {
    const metadata = name.startsWith("x-amz-meta-");
    if (metadata) metadataBytes += Buffer.byteLength(name.slice("x-amz-meta-".length)) + Buffer.byteLength(value);
    if (metadata || KEPT.has(name)) kept[name] = value;
  }
  if (metadataBytes > METADATA_BYTES_MAX) {
    throw new S3Refusal("MetadataTooLarge", {
      elements: { Size: String(metadataBytes), MaxSizeAllowed: String(METADATA_BYTES_MAX) },
    });
  }
  const encoding = kept["content-encoding"];
  if (encoding !== undefined) {
    // Framing of the request, not a property of the object.
    const rest = encoding
      .split(",")
      .map((one) => one.trim())
      .filter((one) => one !== "" && one !== "aws-chunked");
    if (rest.length === 0) delete kept["content-encoding"];
    else kept["content-encoding"] = rest.join(",");
  }
  return { "content-type": "binary/octet-stream", ...kept };
}
