import type { NodeHttpHandler } from "@smithy/node-http-handler";

import { isSecureLink } from "../../config/s3-names.ts";
import type { Environment } from "../../runtime/environment.ts";
import { createHttpHandler } from "../http-handler.ts";
import { proxyFor } from "../proxy.ts";
import { readAnswer } from "../s3-answer.ts";
import { SourceFailure, failureOfStatus, type LoadedCredentials } from "./source.ts";

/** How AWS's Security Token Service is reached: one attempt per call, the caller's retries are around it. */
export interface StsAccess {
  readonly region: string;
  /** undefined: AWS in `region`. */
  readonly endpoint: string | undefined;
  readonly requestHandler: NodeHttpHandler;
}

const TIMEOUT_MS = 10_000;

/** Runs `ask` with sockets that are closed afterwards. Never with the store's own authorities and certificate: STS is somebody else. */
export async function withSts<T>(
  environment: Environment,
  storeRegion: string,
  ask: (access: StsAccess) => Promise<T>,
): Promise<T> {
  // Not a region of AWS, but what some other stores want to be signed for.
  const known = environment["AWS_REGION"] || environment["AWS_DEFAULT_REGION"] || storeRegion;
  const region = known === "auto" ? "us-east-1" : known;
  const ignored = environment["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"] === "true";
  const given = ignored ? "" : environment["AWS_ENDPOINT_URL_STS"] || environment["AWS_ENDPOINT_URL"] || "";
  if (given !== "" && !(/^https?:\/\//.test(given) && URL.canParse(given) && isSecureLink(given))) {
    throw new SourceFailure(
      "absent",
      "AWS_ENDPOINT_URL_STS, or AWS_ENDPOINT_URL, is no https:// URL: it would be sent a token",
    );
  }
  const endpoint = given === "" ? undefined : given;
  const proxy = proxyFor(endpoint ?? `https://sts.${region}.amazonaws.com`, environment);
  const link = proxy === undefined ? {} : { proxy };
  const requestHandler = createHttpHandler(link, { maxSockets: 4, requestTimeoutMs: TIMEOUT_MS });
  try {
    return await ask({ region, endpoint, requestHandler });
  } finally {
    requestHandler.destroy();
  }
}

/** As the SDK's providers give them. */
export interface SdkIdentity {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
  readonly expiration?: Date | undefined;
}

export function loaded({ accessKeyId, secretAccessKey, sessionToken, expiration }: SdkIdentity): LoadedCredentials {
  const expiresAtMs = expiration?.getTime();
  return {
    accessKeyId,
    secretAccessKey,
    ...(sessionToken === undefined ? {} : { sessionToken }),
    expiresAtMs: expiresAtMs === undefined || Number.isNaN(expiresAtMs) ? undefined : expiresAtMs,
  };
}

/** Codes of STS beside the statuses that say so. */
const TRANSIENT: ReadonlySet<string> = new Set([
  "IDPCommunicationError",
  "InternalFailure",
  "RequestLimitExceeded",
  "RequestTimeout",
  "ServiceUnavailable",
  "Throttling",
  "ThrottlingException",
]);

/** What the SDK threw while it asked STS, in words that hold nothing of an answer's text. */
export function failureOfSts(thrown: unknown): SourceFailure {
  if (thrown instanceof SourceFailure) return thrown;
  const { status, code, network, requestId } = readAnswer(thrown);
  if (status !== undefined) {
    const id = requestId === undefined ? "" : ` (request id ${requestId})`;
    const what = `STS answered HTTP ${status} ${code ?? "without an error code"}${id}`;
    return code !== undefined && TRANSIENT.has(code)
      ? new SourceFailure("transient", what)
      : failureOfStatus(status, what);
  }
  const certificate = /CERT|SELF_SIGNED|UNABLE_TO_/.test(network);
  return new SourceFailure(certificate ? "refused" : "transient", `STS did not answer: ${network}`);
}
