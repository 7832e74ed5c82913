import type { Clock } from "../../runtime/clock.ts";
import type { S3Call } from "../s3-call.ts";
import { S3Bucket, StoredBytes } from "./bucket.ts";
import type { S3Trait } from "./character.ts";
import { ConditionalWrites } from "./conditional-write.ts";
import type { S3Credential } from "./credentials.ts";
import type { Payload } from "./payload.ts";
import { S3Refusal } from "./refusal.ts";

/** One request, its signature and body found right. */
export interface S3Exchange {
  readonly call: S3Call;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly payload: Payload;
  readonly credential: S3Credential;
}

interface WorldOptions {
  readonly traits: ReadonlySet<S3Trait>;
  readonly region: string;
  readonly clock: Clock;
  readonly clockOffsetMs: number;
  readonly maxStoredBytes: number;
  readonly staleForMs: number;
  readonly raceWindowMs: number;
  readonly kmsKeys: readonly string[] | undefined;
}

/** Everything that outlives a request. */
export class S3World {
  readonly traits: ReadonlySet<S3Trait>;
  readonly region: string;
  readonly kmsKeys: readonly string[] | undefined;
  readonly stored: StoredBytes;
  readonly writes: ConditionalWrites;
  readonly #clock: Clock;
  readonly #buckets = new Map<string, S3Bucket>();
  readonly #clockOffsetMs: number;
  readonly #staleForMs: number;
  #generation = 0;
  #uploads = 0;

  constructor(options: WorldOptions) {
    this.traits = options.traits;
    this.region = options.region;
    this.#clock = options.clock;
    this.writes = new ConditionalWrites(options);
    this.kmsKeys = options.kmsKeys;
    this.stored = new StoredBytes(options.maxStoredBytes);
    this.#clockOffsetMs = options.clockOffsetMs;
    this.#staleForMs = options.traits.has("stale-reads") ? options.staleForMs : 0;
  }

  /** The server's wall clock. */
  nowMs(): number {
    return this.#clock.now() + this.#clockOffsetMs;
  }

  get defaultKmsKey(): string {
    return `arn:aws:kms:${this.region}:000000000000:alias/aws/s3`;
  }

  /** Ascending by name. */
  buckets(): readonly S3Bucket[] {
    return [...this.#buckets.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  findBucket(name: string): S3Bucket | undefined {
    return this.#buckets.get(name);
  }

  /** Throws `NoSuchBucket`. */
  bucket(name: string): S3Bucket {
    const bucket = this.#buckets.get(name);
    if (bucket === undefined) throw new S3Refusal("NoSuchBucket", { elements: { BucketName: name } });
    return bucket;
  }

  /** Throws `InvalidBucketName`. The name must be free. */
  createBucket(name: string): void {
    if (!/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(name) || name.includes("..")) {
      throw new S3Refusal("InvalidBucketName", { elements: { BucketName: name } });
    }
    const bucket = new S3Bucket({
      name,
      createdMs: this.nowMs(),
      stored: this.stored,
      monotonic: () => this.#clock.monotonic(),
      staleForMs: this.#staleForMs,
    });
    this.#buckets.set(name, bucket);
  }

  deleteBucket(bucket: S3Bucket): void {
    bucket.clear();
    this.#buckets.delete(bucket.name);
  }

  nextGeneration(): number {
    this.#generation += 1;
    return this.#generation;
  }

  nextUploadId(): string {
    this.#uploads += 1;
    return `upload-${String(this.#uploads).padStart(12, "0")}`;
  }
}
