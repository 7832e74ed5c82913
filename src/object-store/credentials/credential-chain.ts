import { ConfigError, isTierlogError } from "../../errors.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import type { CredentialsProvider, S3Credentials } from "../s3-credentials.ts";
import { containerSource } from "./container.ts";
import { environmentSource } from "./environment-keys.ts";
import { instanceMetadataSource } from "./instance-metadata.ts";
import { RenewingCredentials, unavailable, type CredentialLoader } from "./renewing.ts";
import { sharedProfileSource } from "./shared-profile.ts";
import { SourceFailure, type CredentialSource, type LoadedCredentials } from "./source.ts";
import { webIdentitySource } from "./web-identity.ts";

export interface CredentialSettings {
  /** Of AWS's shared files: this one, and nothing else is looked at. undefined: the search. */
  readonly profile: string | undefined;
  /** Of the store: for STS, where the environment names none. */
  readonly region: string;
}

type ChainRuntime = Pick<Runtime, "clock" | "logger" | "environment">;

/** Every place that is searched, in order, be it configured or not. Asks nobody; looks which files exist. */
export async function credentialSources(
  { profile, region }: CredentialSettings,
  { clock, environment }: Pick<ChainRuntime, "clock" | "environment">,
): Promise<readonly CredentialSource[]> {
  const shared = await sharedProfileSource(profile, environment, region);
  if (profile !== undefined) return [shared];
  return [
    environmentSource(environment),
    shared,
    containerSource(environment, clock),
    webIdentitySource(environment, clock, region),
    instanceMetadataSource(environment, clock),
  ];
}

/**
 * Credentials of the first source that gives some; from then on of that one alone: another would be another identity. A source that is
 * not configured, and one that says no, are passed over, with a warning about the latter; one that may answer the next time is not.
 */
export async function searchedCredentials(
  settings: CredentialSettings,
  runtime: ChainRuntime,
): Promise<CredentialsProvider> {
  return new RenewingCredentials(new Search(await credentialSources(settings, runtime), runtime), runtime);
}

class Search implements CredentialLoader {
  readonly #sources: readonly CredentialSource[];
  readonly #runtime: Pick<ChainRuntime, "logger">;
  #found: CredentialSource | undefined;
  #asking: CredentialSource | undefined;
  #loads = 0;

  constructor(sources: readonly CredentialSource[], runtime: Pick<ChainRuntime, "logger">) {
    this.#sources = sources;
    this.#runtime = runtime;
  }

  get source(): string {
    return (this.#found ?? this.#asking)?.name ?? "the search for credentials";
  }

  get renewable(): boolean {
    return this.#found?.renewable ?? true;
  }

  async load(): Promise<LoadedCredentials> {
    const failures: Failure[] = [];
    this.#loads += 1;
    const load = this.#loads;
    const asked =
      this.#found === undefined ? this.#sources.filter(({ missing }) => missing === undefined) : [this.#found];
    for (const source of asked) {
      try {
        this.#asking = source;
        const loaded = await source.load();
        checkKeys(loaded);
        if (load !== this.#loads) return loaded;
        this.#tell(source, failures);
        this.#found = source;
        return loaded;
      } catch (error) {
        if (isTierlogError(error)) throw error;
        const failure = error instanceof SourceFailure ? error : new SourceFailure("refused", "it failed");
        failures.push({ source, failure });
        // To go on would take another identity for a hiccup of this one.
        if (failure.kind === "transient") break;
        // Nobody waits any more, and those who came later may have found another one.
        if (load !== this.#loads) break;
      }
    }
    throw this.#nothing(failures);
  }

  #tell(source: CredentialSource, failures: readonly Failure[]): void {
    if (failures.length === 0) return;
    this.#runtime.logger.warn("credentials were taken from a later source, because one before it failed", {
      source: source.name,
      problem: failures.map(sentence).join("; "),
    });
  }

  #nothing(failures: readonly Failure[]): Error {
    const tried = failures.map(sentence);
    if (failures.some(({ failure }) => failure.kind === "transient")) return unavailable(tried.join("; "), true);
    if (failures.some(({ failure }) => failure.kind === "refused")) return unavailable(tried.join("; "), false);
    const unset = this.#sources.flatMap(({ name, missing }) => (missing === undefined ? [] : [`${name}: ${missing}`]));
    const problem = `no credentials were found. Tried: ${[...tried, ...unset].join("; ")}`;
    return new ConfigError([
      {
        path: "system.storage.object",
        problem: `${problem}. Set one of these, or access_key_id and secret_access_key`,
      },
    ]);
  }
}

interface Failure {
  readonly source: CredentialSource;
  readonly failure: SourceFailure;
}

function sentence({ source, failure }: Failure): string {
  return `${source.name}: ${failure.message}`;
}

/** They become header values: a line break in one would be Node's error, which repeats the header. */
function checkKeys({ accessKeyId, secretAccessKey, sessionToken }: S3Credentials): void {
  for (const value of [accessKeyId, secretAccessKey, sessionToken]) {
    if (value !== undefined && !/^[\x21-\x7e]+$/.test(value)) {
      throw new SourceFailure("refused", "it holds a key or token with white space or other odd characters");
    }
  }
}
