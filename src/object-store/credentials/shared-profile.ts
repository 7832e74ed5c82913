import type { Environment } from "../../runtime/environment.ts";
import { joinPath } from "../../runtime/file-system.ts";
import { fileMode } from "../../runtime/text-file.ts";
import { SourceFailure, type CredentialSource } from "./source.ts";
import type { failureOfSts } from "./sts.ts";

/** Where the files that AWS's own tools share lie. */
interface SharedFiles {
  readonly credentials: string;
  readonly config: string;
}

/**
 * A profile of AWS's shared files: `name`, or else AWS_PROFILE, or else "default" where one of the files exists. What a profile may
 * hold is the SDK's: keys, a role with the profile to take it from, a token of a web identity, a `credential_process`, a login (SSO).
 * Files are read anew each time.
 *
 * Of these the SDK takes from `process.env`, whatever `environment` says: what `credential_source` names, the cache of logins, the
 * environment of a `credential_process`, and the endpoint of STS for a web identity inside of a profile.
 */
export async function sharedProfileSource(
  name: string | undefined,
  environment: Environment,
  storeRegion: string,
): Promise<CredentialSource> {
  const files = sharedFiles(environment);
  const ambient = environment["AWS_PROFILE"] || undefined;
  const profile = name ?? ambient ?? "default";
  const origin =
    name !== undefined ? "system.storage.object.profile" : ambient !== undefined ? "AWS_PROFILE" : undefined;
  const there = origin !== undefined || (await exists(files.credentials)) || (await exists(files.config));
  return {
    name: `profile ${JSON.stringify(profile)}${origin === undefined ? "" : ` (${origin})`}`,
    missing: there
      ? undefined
      : `AWS_PROFILE is not set, and there is neither ${files.credentials} nor ${files.config}`,
    renewable: true,
    async load() {
      // Only here: the SDK takes long to load.
      const { fromIni } = await import("@aws-sdk/credential-provider-ini");
      const sts = await import("./sts.ts");
      try {
        return await sts.withSts(environment, storeRegion, async ({ region, endpoint, requestHandler }) => {
          const provide = fromIni({
            profile,
            filepath: files.credentials,
            configFilepath: files.config,
            // Else the SDK would never see a file that was written anew.
            ignoreCache: true,
            // A region in the profile wins over this one.
            parentClientConfig: { region, requestHandler },
            clientConfig: { ...(endpoint === undefined ? {} : { endpoint }), requestHandler, maxAttempts: 1 },
          });
          return sts.loaded(await provide());
        });
      } catch (error) {
        throw failureOfProfile(error, profile, files, sts.failureOfSts);
      }
    },
  };
}

function sharedFiles(environment: Environment): SharedFiles {
  const home = environment["HOME"] ?? "";
  const place = (variable: string, name: string): string => {
    const given = environment[variable] || joinPath("~", ".aws", name);
    return given.startsWith("~/") ? joinPath(home === "" ? "/" : home, given.slice(2)) : given;
  };
  return {
    credentials: place("AWS_SHARED_CREDENTIALS_FILE", "credentials"),
    config: place("AWS_CONFIG_FILE", "config"),
  };
}

async function exists(path: string): Promise<boolean> {
  try {
    return (await fileMode(path)) !== undefined;
  } catch {
    // There, but not for us: the attempt to read it says so.
    return true;
  }
}

/** By the SDK's own sentences, which have no codes. They are not shown: that of a failed program repeats its command line. */
function failureOfProfile(
  thrown: unknown,
  profile: string,
  files: SharedFiles,
  otherwise: typeof failureOfSts,
): SourceFailure {
  if (!(thrown instanceof Error) || thrown.name !== "CredentialsProviderError") return otherwise(thrown);
  const { message } = thrown;
  const absent = (problem: string): SourceFailure => new SourceFailure("absent", problem);
  if (message.startsWith("Could not resolve credentials using profile")) {
    return absent(`it is not in ${files.credentials} or ${files.config}, or holds no keys and no role there`);
  }
  if (message.startsWith("Detected a cycle")) return absent("its source_profile leads back to itself");
  if (message.includes("multi-factor authentication"))
    return absent("it needs a code (MFA), which nobody here can type");
  if (/\bSSO\b|\blogin\b/i.test(message)) {
    return new SourceFailure("refused", `its login is missing or over: aws sso login --profile ${profile}`);
  }
  if (message.startsWith("Command failed") || message.includes("credential_process")) {
    return new SourceFailure("refused", "its credential_process failed, or did not print credentials: run it by hand");
  }
  return new SourceFailure("refused", "the SDK could not use it");
}
