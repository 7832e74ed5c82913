import type { Clock } from "../../runtime/clock.ts";
import type { Environment } from "../../runtime/environment.ts";
import { parseMetadataCredentials } from "./metadata-credentials.ts";
import { NoMetadataError, askMetadata, type MetadataAnswer } from "./metadata-request.ts";
import { SourceFailure, failureOfStatus, type CredentialSource, type LoadedCredentials } from "./source.ts";

/** Of each request, and of the wait on a machine that has no such service. */
const TIMEOUT_MS = 1_000;
const ROLES = "/latest/meta-data/iam/security-credentials/";
/** A token is used for one round only; the service wants to know how long. */
const TOKEN_SECONDS = "60";

/**
 * The role of an EC2 instance, by version 2 of the metadata service ("Use the Instance Metadata Service", EC2 user guide).
 *
 * Not by `@smithy/credential-provider-imds`: it goes back to version 1 when the token is not given, or else says nothing of why; it
 * takes its endpoint from `process.env` alone; and it writes to the console.
 */
export function instanceMetadataSource(environment: Environment, clock: Clock): CredentialSource {
  const disabled = environment["AWS_EC2_METADATA_DISABLED"]?.toLowerCase() === "true";
  /** Once it has answered, its silence is a hiccup; before, it means that there is none. */
  let seen = false;

  async function ask(path: string, token: string | undefined): Promise<MetadataAnswer> {
    const base = serviceEndpoint(environment);
    const headers =
      token === undefined
        ? { "x-aws-ec2-metadata-token-ttl-seconds": TOKEN_SECONDS }
        : { "x-aws-ec2-metadata-token": token };
    const method = token === undefined ? "PUT" : "GET";
    try {
      const answer = await askMetadata(new URL(path, base), { clock, timeoutMs: TIMEOUT_MS, method, headers });
      seen = true;
      return answer;
    } catch (error) {
      if (!(error instanceof NoMetadataError)) throw error;
      seen ||= error.connected;
      const problem = error.code === undefined ? `did not answer within ${TIMEOUT_MS} ms` : error.code;
      throw new SourceFailure(seen ? "transient" : "absent", `${base.host}: ${problem}`);
    }
  }

  return {
    name: "the instance metadata of EC2",
    missing: disabled ? "switched off by AWS_EC2_METADATA_DISABLED" : undefined,
    renewable: true,
    async load(): Promise<LoadedCredentials> {
      const token = await ask("/latest/api/token", undefined);
      if (token.status !== 200) {
        throw failureOfStatus(token.status, `no token of version 2: HTTP ${token.status}`);
      }
      const session = token.text.trim();
      if (!/^[\x21-\x7e]+$/.test(session)) throw new SourceFailure("transient", "the token of version 2 is malformed");
      const roles = await ask(ROLES, session);
      const role = roles.text.split("\n")[0]?.trim() ?? "";
      if (roles.status === 404 || (roles.status === 200 && role === "")) {
        throw new SourceFailure("refused", "the instance has no role");
      }
      if (roles.status !== 200) throw failureOfStatus(roles.status, `the name of the role: HTTP ${roles.status}`);
      const found = await ask(`${ROLES}${encodeURIComponent(role)}`, session);
      if (found.status !== 200)
        throw failureOfStatus(found.status, `the credentials of the role: HTTP ${found.status}`);
      return parseMetadataCredentials(found.text, "it");
    },
  };
}

/** Throws `SourceFailure`. */
function serviceEndpoint(environment: Environment): URL {
  const given = environment["AWS_EC2_METADATA_SERVICE_ENDPOINT"] ?? "";
  if (given !== "") {
    if (/^https?:\/\//.test(given) && URL.canParse(given)) return new URL(given);
    throw new SourceFailure("absent", "AWS_EC2_METADATA_SERVICE_ENDPOINT is not a URL");
  }
  const mode = environment["AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE"]?.toLowerCase();
  return new URL(mode === "ipv6" ? "http://[fd00:ec2::254]" : "http://169.254.169.254");
}
