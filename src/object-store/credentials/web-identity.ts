import type { Clock } from "../../runtime/clock.ts";
import type { Environment } from "../../runtime/environment.ts";
import { readTokenFile } from "./container.ts";
import type { CredentialSource } from "./source.ts";

const TOKEN_FILE = "AWS_WEB_IDENTITY_TOKEN_FILE";
const ROLE = "AWS_ROLE_ARN";

/** The role of a Kubernetes service account (IRSA), or of any other OpenID Connect token in a file: STS gives credentials for it. */
export function webIdentitySource(environment: Environment, clock: Clock, storeRegion: string): CredentialSource {
  const file = environment[TOKEN_FILE] ?? "";
  const roleArn = environment[ROLE] ?? "";
  const missing = [...(file === "" ? [TOKEN_FILE] : []), ...(roleArn === "" ? [ROLE] : [])].join(" and ");
  return {
    name: `the web identity of ${TOKEN_FILE}`,
    missing: missing === "" ? undefined : `not set: ${missing}`,
    renewable: true,
    async load() {
      // Read each time: the platform writes a new token before the old one expires.
      const webIdentityToken = (await readTokenFile(file, TOKEN_FILE)).trim();
      const roleSessionName = environment["AWS_ROLE_SESSION_NAME"] || `tierlog-${clock.now()}`;
      // Only here: the SDK takes long to load.
      const { fromWebToken } = await import("@aws-sdk/credential-provider-web-identity");
      const { failureOfSts, loaded, withSts } = await import("./sts.ts");
      try {
        return await withSts(environment, storeRegion, async ({ endpoint, ...access }) => {
          const clientConfig = { ...access, ...(endpoint === undefined ? {} : { endpoint }), maxAttempts: 1 };
          return loaded(await fromWebToken({ webIdentityToken, roleArn, roleSessionName, clientConfig })());
        });
      } catch (error) {
        throw failureOfSts(error);
      }
    },
  };
}
