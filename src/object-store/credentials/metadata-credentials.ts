import { SourceFailure, type LoadedCredentials } from "./source.ts";

/** Of the JSON that instance and container endpoints answer. Throws `SourceFailure`; `who` begins its message. */
export function parseMetadataCredentials(text: string, who: string): LoadedCredentials {
  const fields = parseObject(text);
  const accessKeyId = fields["AccessKeyId"];
  const secretAccessKey = fields["SecretAccessKey"];
  const sessionToken = fields["Token"];
  const expiresAtMs = Date.parse(String(fields["Expiration"]));
  if (!isText(accessKeyId) || !isText(secretAccessKey) || !isText(sessionToken) || Number.isNaN(expiresAtMs)) {
    throw new SourceFailure("transient", `${who} answered something that holds no credentials`);
  }
  return { accessKeyId, secretAccessKey, sessionToken, expiresAtMs };
}

function parseObject(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}
