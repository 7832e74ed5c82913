import { ObjectStoreError, isTierlogError, type TierlogError } from "../../errors.ts";
import type { Clock } from "../../runtime/clock.ts";
import type { Logger } from "../../runtime/logger.ts";
import type { CredentialsProvider, S3Credentials } from "../s3-credentials.ts";
import type { LoadedCredentials } from "./source.ts";

/** Renewed so long before they expire, or at half of their life if that is shorter. */
const LEAD_MS = 5 * 60_000;
/**
 * Asked for no more often than this while those at hand are good: a source that fails, or one that hands out what by our clock has
 * expired (the clock may be wrong, the store judges), must not be asked with every request.
 */
const PAUSE_MS = 30_000;
/** A helper program, or a login service, may hang. */
const LOAD_TIMEOUT_MS = 30_000;

export interface CredentialLoader {
  /** Rejects with a `TierlogError` of effect "none". */
  load(): Promise<LoadedCredentials>;
  readonly source: string;
  /** Asked after the first `load`. */
  readonly renewable: boolean;
}

interface Held {
  readonly credentials: S3Credentials;
  readonly loadedAtMs: number;
  readonly renewAtMs: number;
  readonly expiresAtMs: number;
  /** Loaded because the store refused those before. */
  readonly inPlaceOfRefused: boolean;
  accepted: boolean;
  refused: boolean;
}

/**
 * Credentials in memory, renewed before they expire: by the requests that need them, so that an idle process asks nobody. One
 * renewal at a time, for all. While one fails and those at hand are still good, they are used on.
 */
export class RenewingCredentials implements CredentialsProvider {
  readonly #loader: CredentialLoader;
  readonly #clock: Clock;
  readonly #logger: Logger;
  #held: Held | undefined;
  #loading: Promise<Held> | undefined;
  #nextTryMs = Number.NEGATIVE_INFINITY;

  constructor(loader: CredentialLoader, runtime: { readonly clock: Clock; readonly logger: Logger }) {
    this.#loader = loader;
    this.#clock = runtime.clock;
    this.#logger = runtime.logger;
  }

  get source(): string {
    return this.#loader.source;
  }

  async get(): Promise<S3Credentials> {
    const held = this.#held;
    if (held === undefined || held.refused || this.#clock.now() >= held.expiresAtMs) {
      return (await this.#load()).credentials;
    }
    if (this.#clock.now() >= held.renewAtMs && this.#clock.monotonic() >= this.#nextTryMs) this.#renewInBackground();
    return held.credentials;
  }

  accepted(credentials: S3Credentials): void {
    if (this.#held?.credentials === credentials) this.#held.accepted = true;
  }

  refused(credentials: S3Credentials): boolean {
    const held = this.#held;
    // Others are here already, or on their way.
    if (held === undefined || held.credentials !== credentials || held.refused) return true;
    if (!this.#loader.renewable) return false;
    // Once: a source that gives out refused ones again would be asked, and the store too, for ever.
    const justRenewed = held.inPlaceOfRefused && !held.accepted;
    if (justRenewed && this.#clock.monotonic() - held.loadedAtMs < PAUSE_MS) return false;
    held.refused = true;
    return true;
  }

  #renewInBackground(): void {
    this.#nextTryMs = this.#clock.monotonic() + PAUSE_MS;
    this.#load().catch((error: unknown) => {
      this.#logger.warn("credentials could not be renewed; those at hand are used on until they expire", {
        source: this.source,
        problem: error instanceof Error ? error.message : "unknown",
      });
    });
  }

  #load(): Promise<Held> {
    this.#loading ??= this.#loadOnce().finally(() => {
      this.#loading = undefined;
    });
    return this.#loading;
  }

  async #loadOnce(): Promise<Held> {
    const { expiresAtMs, ...credentials } = await this.#inTime(this.#loader.load());
    const nowMs = this.#clock.now();
    const loadedAtMs = this.#clock.monotonic();
    const lifeMs = expiresAtMs === undefined ? Number.POSITIVE_INFINITY : Math.max(0, expiresAtMs - nowMs);
    this.#nextTryMs = loadedAtMs + (lifeMs === 0 ? PAUSE_MS : Math.min(PAUSE_MS, lifeMs / 2));
    this.#held = {
      credentials,
      loadedAtMs,
      renewAtMs: nowMs + lifeMs - Math.min(LEAD_MS, lifeMs / 2),
      expiresAtMs: nowMs + (lifeMs === 0 ? PAUSE_MS : lifeMs),
      inPlaceOfRefused: this.#held?.refused ?? false,
      accepted: false,
      refused: false,
    };
    this.#logger.info("got credentials", {
      source: this.source,
      ...(expiresAtMs === undefined ? {} : { expires: new Date(expiresAtMs).toISOString() }),
    });
    return this.#held;
  }

  /** The work itself cannot be stopped; what it brings later is not looked at. */
  async #inTime<T>(work: Promise<T>): Promise<T> {
    let onTimeout: (() => void) | undefined;
    const timeout = new Promise<never>((_, reject) => {
      onTimeout = () => reject(unavailable(`${this.source} did not answer within ${LOAD_TIMEOUT_MS} ms`, true));
    });
    const timer = this.#clock.schedule(LOAD_TIMEOUT_MS, () => onTimeout?.(), { background: true });
    try {
      return await Promise.race([work, timeout]);
    } catch (error) {
      throw isTierlogError(error) ? error : unavailable(`${this.source} failed`, false);
    } finally {
      timer.cancel();
    }
  }
}

export function unavailable(problem: string, retryable: boolean): TierlogError {
  return new ObjectStoreError(`credentials: ${problem}`, { operation: "credentials", key: "", retryable });
}
