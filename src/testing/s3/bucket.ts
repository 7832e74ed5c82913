import { compareKeys } from "../../object-store/object-key.ts";
import type { Encryption } from "./encryption.ts";
import type { Checksum } from "./payload.ts";
import { S3Refusal } from "./refusal.ts";

export interface S3Object {
  /** Never changed. */
  readonly bytes: Uint8Array;
  /** Without quotes. */
  readonly etag: string;
  /** Grows with every object written to the endpoint (Google's name for it). */
  readonly generation: number;
  readonly lastModifiedMs: number;
  /** Content-Type and its like, and x-amz-meta-…: answered as they came. */
  readonly headers: Readonly<Record<string, string>>;
  readonly encryption: Encryption;
  readonly checksum: Checksum | undefined;
}

export interface S3Part {
  readonly bytes: Uint8Array;
  readonly etag: string;
  readonly lastModifiedMs: number;
  readonly checksum: Checksum | undefined;
}

export interface S3Upload {
  /** Grows with time: uploads of one key are listed in this order. */
  readonly id: string;
  readonly key: string;
  readonly startedMs: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly encryption: Encryption;
  readonly parts: Map<number, S3Part>;
}

/** How an upload ended: what a server remembers for those who ask again. */
export type EndedUpload =
  | { readonly kind: "completed"; readonly key: string; readonly etag: string; readonly encryption: Encryption }
  | { readonly kind: "aborted"; readonly key: string };

/** The bytes that the whole endpoint holds, and their limit. */
export class StoredBytes {
  readonly max: number;
  #used = 0;

  constructor(max: number) {
    this.max = max;
  }

  get used(): number {
    return this.#used;
  }

  /** Throws `QuotaExceeded`, and takes nothing, above the limit. */
  take(bytes: number): void {
    if (this.#used + bytes > this.max) {
      throw new S3Refusal("QuotaExceeded", {
        message: `The endpoint holds ${this.#used} bytes of at most ${this.max} (maxStoredBytes); ${bytes} more do not fit`,
      });
    }
    this.#used += bytes;
  }

  giveBack(bytes: number): void {
    this.#used -= bytes;
  }
}

/** Counted for each object, part and upload beside its bytes: empty ones without end are bounded too. */
const ENTRY_BYTES = 512;
const ENDED_UPLOADS_MAX = 1000;

interface Version {
  /** undefined: deleted. */
  readonly object: S3Object | undefined;
  /** Monotonic time from which on reads see it. */
  readonly visibleAtMs: number;
}

interface BucketOptions {
  readonly name: string;
  readonly createdMs: number;
  readonly stored: StoredBytes;
  readonly monotonic: () => number;
  /** How long reads lag behind writes. */
  readonly staleForMs: number;
}

/** One bucket. Conditions are held against `current`, reads and listings see `visible`; without a lag they are the same. */
export class S3Bucket {
  readonly name: string;
  readonly createdMs: number;
  readonly uploads = new Map<string, S3Upload>();
  readonly #ended = new Map<string, EndedUpload>();
  readonly #stored: StoredBytes;
  readonly #monotonic: () => number;
  readonly #staleForMs: number;
  /** Oldest first; only the newest where nothing lags. */
  readonly #versions = new Map<string, readonly Version[]>();
  /** Undefined after a key came or went. */
  #sorted: readonly string[] | undefined;

  constructor({ name, createdMs, stored, monotonic, staleForMs }: BucketOptions) {
    this.name = name;
    this.createdMs = createdMs;
    this.#stored = stored;
    this.#monotonic = monotonic;
    this.#staleForMs = staleForMs;
  }

  current(key: string): S3Object | undefined {
    return this.#versions.get(key)?.at(-1)?.object;
  }

  visible(key: string): S3Object | undefined {
    const now = this.#monotonic();
    return this.#versions.get(key)?.findLast(({ visibleAtMs }) => visibleAtMs <= now)?.object;
  }

  /** Keys of visible objects, ascending by UTF-8 bytes. */
  keys(): readonly string[] {
    if (this.#staleForMs > 0) this.#dropDeleted();
    this.#sorted ??= [...this.#versions.keys()].sort(compareKeys);
    return this.#staleForMs === 0 ? this.#sorted : this.#sorted.filter((key) => this.visible(key) !== undefined);
  }

  /** Nothing in it: no current object. */
  get isEmpty(): boolean {
    return [...this.#versions.keys()].every((key) => this.current(key) === undefined);
  }

  /** Throws `QuotaExceeded`, and changes nothing, where it does not fit. */
  write(key: string, object: S3Object): void {
    this.#stored.take(sizeOf(object));
    this.#append(key, object);
  }

  remove(key: string): void {
    if (this.current(key) !== undefined) this.#append(key, undefined);
  }

  addUpload(upload: S3Upload): void {
    this.#stored.take(ENTRY_BYTES);
    this.uploads.set(upload.id, upload);
  }

  addPart(upload: S3Upload, partNumber: number, part: S3Part): void {
    const replaced = upload.parts.get(partNumber);
    this.#stored.take(part.bytes.length + ENTRY_BYTES);
    if (replaced !== undefined) this.#stored.giveBack(replaced.bytes.length + ENTRY_BYTES);
    upload.parts.set(partNumber, part);
  }

  /** Upload and parts are gone. */
  dropUpload(upload: S3Upload): void {
    this.uploads.delete(upload.id);
    for (const { bytes } of upload.parts.values()) this.#stored.giveBack(bytes.length + ENTRY_BYTES);
    this.#stored.giveBack(ENTRY_BYTES);
  }

  /** For the last 1,000 uploads that ended. */
  rememberEnd(id: string, ended: EndedUpload): void {
    this.#ended.set(id, ended);
    const [oldest] = this.#ended.keys();
    if (this.#ended.size > ENDED_UPLOADS_MAX && oldest !== undefined) this.#ended.delete(oldest);
  }

  endedUpload(id: string): EndedUpload | undefined {
    return this.#ended.get(id);
  }

  /** Gives back everything it holds. */
  clear(): void {
    for (const upload of this.uploads.values()) this.dropUpload(upload);
    for (const versions of this.#versions.values()) this.#forget(versions);
    this.#versions.clear();
    this.#sorted = undefined;
  }

  #append(key: string, object: S3Object | undefined): void {
    const now = this.#monotonic();
    const before = this.#versions.get(key) ?? [];
    const visible = before.findLastIndex(({ visibleAtMs }) => visibleAtMs <= now);
    const kept = this.#staleForMs === 0 ? [] : before.slice(Math.max(visible, 0));
    this.#forget(before.slice(0, before.length - kept.length));
    const versions = [...kept, { object, visibleAtMs: this.#staleForMs === 0 ? now : now + this.#staleForMs }];
    const gone = versions.every((version) => version.object === undefined);
    if (gone) this.#versions.delete(key);
    else this.#versions.set(key, versions);
    if (gone || before.length === 0) this.#sorted = undefined;
  }

  /** Keys whose deletion everybody sees by now. */
  #dropDeleted(): void {
    const now = this.#monotonic();
    for (const [key, versions] of this.#versions) {
      const last = versions.at(-1);
      if (last === undefined || last.object !== undefined || last.visibleAtMs > now) continue;
      this.#forget(versions);
      this.#versions.delete(key);
      this.#sorted = undefined;
    }
  }

  #forget(versions: readonly Version[]): void {
    for (const { object } of versions) if (object !== undefined) this.#stored.giveBack(sizeOf(object));
  }
}

function sizeOf({ bytes }: S3Object): number {
  return bytes.length + ENTRY_BYTES;
}
