import { Engine, type OpenOptions } from "../../src/engine/engine.ts";
import { ObjectStoreError } from "../../src/errors.ts";
import { createMemoryStore, MemoryBucket } from "../../src/object-store/memory-store.ts";
import type { MultipartUpload, ObjectStore } from "../../src/object-store/object-store.ts";
import type { Clock } from "../../src/runtime/clock.ts";
import type { FileSystem } from "../../src/runtime/file-system.ts";
import { seededRandom } from "../../src/runtime/random.ts";
import { LoggerSpy } from "../journal/support.ts";
import { testConfig, type Overrides } from "./engine.ts";
import { SimulatedDisk } from "./simulated-disk.ts";

const KIB = 1024;

/** What becomes of a request: it passes, or the store is away, or answers 403, or its answer is lost. */
export type Weather = "fine" | "away" | "forbidden" | "answer-lost";

export interface Request {
  readonly operation: "get" | "head" | "put" | "list" | "delete" | "multipart";
  readonly key: string;
}

export const JOURNAL_PATH = "/machine/journal";

/**
 * A process on a machine of its own: what it runs on can be cut off at any call. Time is the test's. The disk is simulated, the
 * store is in memory and shared with other machines.
 */
export class Machine {
  readonly bucket: MemoryBucket;
  readonly clock: Clock;
  readonly disk: SimulatedDisk;
  readonly logger = new LoggerSpy();
  /** Asked at every request, which waits for the answer. */
  weather: (request: Request) => Weather | Promise<Weather> = () => "fine";
  /** Asked when a request has taken effect; its answer comes when this resolves. */
  lateAnswer: (request: Request) => Promise<void> = () => Promise.resolve();
  readonly requests: Request[] = [];
  /** Every write into an open file waits for it, and fails if it does. */
  diskGate: () => Promise<void> = () => Promise.resolve();
  /** Calls of disk and store so far; a request counts twice, before and after it takes effect. */
  calls = 0;
  /** The process ends at this call. */
  cutAt = Number.POSITIVE_INFINITY;
  /** Resolves when it does. */
  readonly death: Promise<void>;
  #die: () => void = () => undefined;
  #dead = false;
  readonly #seed: number;

  constructor(options: {
    readonly clock: Clock;
    readonly bucket?: MemoryBucket;
    readonly disk?: SimulatedDisk;
    readonly seed?: number;
  }) {
    this.clock = options.clock;
    this.bucket = options.bucket ?? new MemoryBucket();
    this.disk = options.disk ?? new SimulatedDisk();
    this.#seed = options.seed ?? 1;
    this.death = new Promise((resolve) => {
      this.#die = resolve;
    });
    this.disk.interfere = () => {
      this.#count();
      return undefined;
    };
  }

  get isDead(): boolean {
    return this.#dead;
  }

  /** The process is gone; its disk is as it was. */
  kill(): void {
    this.#dead = true;
    this.disk.crash();
    this.#die();
  }

  /** The next process on this machine. */
  restarted(seed = this.#seed + 1): Machine {
    return new Machine({ clock: this.clock, bucket: this.bucket, disk: this.disk.afterKill(), seed });
  }

  /** Another machine on the same store, with a disk of its own, or a copy of this one's. */
  other(options: { readonly disk?: SimulatedDisk } = {}): Machine {
    return new Machine({ clock: this.clock, bucket: this.bucket, seed: this.#seed + 1000, ...options });
  }

  open(overrides: Overrides = {}, options: OpenOptions = {}): Promise<Engine> {
    return Engine.open(journaledConfig(overrides), {
      objectStore: this.#store(),
      runtime: {
        clock: this.clock,
        fileSystem: this.#fileSystem(),
        random: seededRandom(this.#seed),
        logger: this.logger,
      },
      ...options,
    });
  }

  #fileSystem(): FileSystem {
    const { disk } = this;
    return {
      read: (path, range) => disk.read(path, range),
      stat: (path) => disk.stat(path),
      writeNew: (path, bytes, options) => disk.writeNew(path, bytes, options),
      concatenate: () => disk.concatenate(),
      link: () => disk.link(),
      rename: (from, to) => disk.rename(from, to),
      remove: (path) => disk.remove(path),
      makeDirectory: (path) => disk.makeDirectory(path),
      syncDirectory: (path) => disk.syncDirectory(path),
      list: (path) => disk.list(path),
      kind: (path) => disk.kind(path),
      open: async (path, options) => {
        const file = await disk.open(path, options);
        const write = file.write.bind(file);
        return Object.assign(file, {
          write: async (bytes: Uint8Array, position: number): Promise<number> => {
            await this.diskGate();
            return write(bytes, position);
          },
        });
      },
    };
  }

  #count(): void {
    this.calls++;
    if (this.calls === this.cutAt) this.kill();
  }

  #store(): ObjectStore {
    const inner = createMemoryStore(this.bucket);
    const call = async <T>(request: Request, work: () => Promise<T>): Promise<T> => {
      this.requests.push(request);
      this.#count();
      if (this.#dead) return never();
      const weather = await this.weather(request);
      if (weather === "away" || weather === "forbidden") throw failure(request, weather);
      const answer = await work();
      await this.lateAnswer(request);
      this.#count();
      if (this.#dead) return never();
      if (weather === "answer-lost") throw failure(request, weather);
      return answer;
    };
    return {
      get: (key, options) => call({ operation: "get", key }, () => inner.get(key, options)),
      head: (key, options) => call({ operation: "head", key }, () => inner.head(key, options)),
      put: (key, body, options) => call({ operation: "put", key }, () => inner.put(key, body, options)),
      createMultipart: async (key, options): Promise<MultipartUpload> => {
        const request: Request = { operation: "multipart", key };
        const upload = await call(request, () => inner.createMultipart(key, options));
        return {
          key: upload.key,
          uploadId: upload.uploadId,
          putPart: (number, body, partOptions) => call(request, () => upload.putPart(number, body, partOptions)),
          listParts: (listOptions) => call(request, () => upload.listParts(listOptions)),
          complete: (parts, completeOptions) => call(request, () => upload.complete(parts, completeOptions)),
          abort: (abortOptions) => call(request, () => upload.abort(abortOptions)),
        };
      },
      list: async function* list(prefix, options) {
        yield* await call({ operation: "list", key: prefix }, async () => {
          const found = [];
          for await (const info of inner.list(prefix, options)) found.push(info);
          return found;
        });
      },
      delete: (keys, options) => call({ operation: "delete", key: keys.join(" ") }, () => inner.delete(keys, options)),
      close: () => Promise.resolve(),
    };
  }
}

/** Journaled, with files small enough for a disk in memory. */
export function journaledConfig(overrides: Overrides = {}): ReturnType<typeof testConfig> {
  return testConfig({
    ...overrides,
    storage: { ...overrides.storage, object: { ackAfterUpload: false, ...overrides.storage?.object } },
    journal: {
      path: JOURNAL_PATH,
      fileSizeBytes: 256 * KIB,
      maxSizeBytes: 2048 * KIB,
      uploadIntervalMs: 10_000,
      ...overrides.journal,
    },
  });
}

/** Writes of a machine's disk wait from now on, until `open` lets them pass, or `fail` them all. */
export function heldDisk(machine: Machine): { readonly open: () => void; readonly fail: (error: Error) => void } {
  let open = (): void => undefined;
  let fail = (_error: Error): void => undefined;
  const gate = new Promise<void>((resolve, reject) => {
    open = resolve;
    fail = reject;
  });
  gate.catch(() => undefined);
  machine.diskGate = () => gate;
  return {
    open: () => {
      machine.diskGate = () => Promise.resolve();
      open();
    },
    fail,
  };
}

function never<T>(): Promise<T> {
  return new Promise(() => undefined);
}

function failure({ operation, key }: Request, weather: Weather): ObjectStoreError {
  const retryable = weather !== "forbidden";
  const status = weather === "forbidden" ? 403 : undefined;
  const effect = weather === "answer-lost" ? "unknown" : "none";
  return new ObjectStoreError(`injected: ${weather}`, { operation, key, retryable, status }, { effect });
}
