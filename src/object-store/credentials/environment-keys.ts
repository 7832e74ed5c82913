import type { Environment } from "../../runtime/environment.ts";
import type { CredentialSource } from "./source.ts";

const KEY = "AWS_ACCESS_KEY_ID";
const SECRET = "AWS_SECRET_ACCESS_KEY";

/** The keys that stand in the environment itself. Not by the SDK's package, which reads `process.env` alone. */
export function environmentSource(environment: Environment): CredentialSource {
  const accessKeyId = environment[KEY] ?? "";
  const secretAccessKey = environment[SECRET] ?? "";
  const sessionToken = environment["AWS_SESSION_TOKEN"] ?? "";
  const missing = [...(accessKeyId === "" ? [KEY] : []), ...(secretAccessKey === "" ? [SECRET] : [])].join(" and ");
  return {
    name: "the environment (AWS_ACCESS_KEY_ID)",
    missing: missing === "" ? undefined : `not set: ${missing}`,
    renewable: false,
    load: () =>
      Promise.resolve({
        accessKeyId,
        secretAccessKey,
        ...(sessionToken === "" ? {} : { sessionToken }),
        expiresAtMs: undefined,
      }),
  };
}
