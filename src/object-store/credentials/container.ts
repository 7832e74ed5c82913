import { isLoopback } from "../../config/s3-names.ts";
import type { Clock } from "../../runtime/clock.ts";
import type { Environment } from "../../runtime/environment.ts";
import { readTextFile } from "../../runtime/text-file.ts";
import { parseMetadataCredentials } from "./metadata-credentials.ts";
import { NoMetadataError, askMetadata } from "./metadata-request.ts";
import { SourceFailure, failureOfStatus, type CredentialSource, type LoadedCredentials } from "./source.ts";

/** Of ECS; what a relative URI counts from. */
const ECS_HOST = "http://169.254.170.2";
/** Plain HTTP to anybody else would show the token, and the credentials, to the line. The last two are of EKS Pod Identity. */
const HTTP_HOSTS: ReadonlySet<string> = new Set(["169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"]);

const TIMEOUT_MS = 2_000;
const RELATIVE = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
const FULL = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
const TOKEN = "AWS_CONTAINER_AUTHORIZATION_TOKEN";
const TOKEN_FILE = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";

/**
 * The endpoint that ECS, EKS Pod Identity and Greengrass name in the environment. Contract: "Container credential provider" of the
 * AWS SDKs and Tools Reference Guide. `ecsHost` is for tests.
 */
export function containerSource(environment: Environment, clock: Clock, ecsHost: string = ECS_HOST): CredentialSource {
  const relative = environment[RELATIVE] ?? "";
  const full = environment[FULL] ?? "";
  const variable = relative === "" ? FULL : RELATIVE;
  return {
    name: `the container endpoint (${variable})`,
    missing: relative === "" && full === "" ? `not set: ${RELATIVE}, ${FULL}` : undefined,
    renewable: true,
    async load(): Promise<LoadedCredentials> {
      const url = endpoint(relative === "" ? full : `${ecsHost}${relative}`, variable);
      const authorization = await readToken(environment);
      const who = url.host;
      try {
        const { status, text } = await askMetadata(url, {
          clock,
          timeoutMs: TIMEOUT_MS,
          headers: authorization === undefined ? {} : { authorization },
        });
        if (status !== 200) throw failureOfStatus(status, `${who} answered HTTP ${status}`);
        return parseMetadataCredentials(text, who);
      } catch (error) {
        if (!(error instanceof NoMetadataError)) throw error;
        const problem = error.code === undefined ? `did not answer within ${TIMEOUT_MS} ms` : `: ${error.code}`;
        throw new SourceFailure("transient", `${who}${error.code === undefined ? " " : ""}${problem}`);
      }
    },
  };
}

function endpoint(text: string, variable: string): URL {
  // The text itself is not shown: it may hold a password.
  if (!URL.canParse(text)) throw new SourceFailure("absent", `${variable} is not a URL`);
  const url = new URL(text);
  const secure = url.protocol === "https:" || isLoopback(url.hostname) || HTTP_HOSTS.has(url.hostname);
  if (!secure || !/^https?:$/.test(url.protocol)) {
    const allowed = [...HTTP_HOSTS].join(", ");
    throw new SourceFailure("absent", `${variable} must be https, or name this machine or ${allowed}`);
  }
  return url;
}

/** Read each time: the platform writes a new one from time to time. */
async function readToken(environment: Environment): Promise<string | undefined> {
  const file = environment[TOKEN_FILE] ?? "";
  const token = file === "" ? environment[TOKEN] : (await readTokenFile(file, TOKEN_FILE)).trimEnd();
  if (token === undefined || token === "") return undefined;
  // It becomes a header.
  if (/[\p{Cc}]|[^\x20-\x7e]/u.test(token)) {
    throw new SourceFailure("absent", `${file === "" ? TOKEN : TOKEN_FILE} holds line breaks or other odd characters`);
  }
  return token;
}

/** Rejects with `SourceFailure`. */
export async function readTokenFile(file: string, variable: string): Promise<string> {
  try {
    return await readTextFile(file);
  } catch {
    throw new SourceFailure("absent", `${file}, named by ${variable}, cannot be read`);
  }
}
