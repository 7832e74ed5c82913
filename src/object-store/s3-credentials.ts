/** What requests are signed with. */
export interface S3Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

/** Where the clients of one store get their credentials; shared by all of them, so that there is one renewal and not one for each. */
export interface CredentialsProvider {
  /**
   * Those to sign with now: the same object until they are renewed. Rejects with `ConfigError` (nothing is configured) or an
   * `ObjectStoreError` of effect "none", retryable where asking again may help.
   */
  get(): Promise<S3Credentials>;
  /** The store answered a request that was signed with these. */
  accepted(credentials: S3Credentials): void;
  /** The store says that these have expired, or that it does not know them. True: `get` gives others now, or will try. */
  refused(credentials: S3Credentials): boolean;
  /** Where they come from, for messages. */
  readonly source: string;
}

export function fixedCredentials(credentials: S3Credentials): CredentialsProvider {
  return {
    get: () => Promise.resolve(credentials),
    accepted: () => undefined,
    refused: () => false,
    source: "the configuration",
  };
}

export function isProvider(credentials: S3Credentials | CredentialsProvider): credentials is CredentialsProvider {
  return "get" in credentials;
}
