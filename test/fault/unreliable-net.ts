import type { ObjectKey } from "../../src/domain.ts";
import { AbortedError, ObjectStoreError, type Effect } from "../../src/errors.ts";
import type { MultipartUpload, ObjectInfo, ObjectStore, PutOutcome } from "../../src/object-store/object-store.ts";
import type { Random } from "../../src/runtime/random.ts";
import type { VirtualClock } from "../support/virtual-clock.ts";

const READ_FATES = ["slow", "refused", "refused", "forbidden"] as const;
const WRITE_FATES = ["slow", "refused", "forbidden", "lost-before", "lost-after", "late"] as const;
type Fate = "pass" | "hang" | "own-412" | (typeof WRITE_FATES)[number] | (typeof READ_FATES)[number];

/** What lies between all processes of a script and their store. */
export class Weather {
  /** Part of the requests that a fault meets. */
  rate = 0;
  /** No request passes before. */
  outageUntilMs = 0;
  readonly struck = new Map<string, number>();

  count(what: string): void {
    this.struck.set(what, (this.struck.get(what) ?? 0) + 1);
  }
}

/** One process's way to the store: requests take time, get lost before or after they took effect, or land late. */
export class UnreliableNet {
  readonly store: ObjectStore;
  readonly #inner: ObjectStore;
  readonly #clock: VirtualClock;
  readonly #random: Random;
  readonly #weather: Weather;
  #cut = false;
  #landsAfterCut = false;
  /** Told of every object that a put has brought to the store, whatever its sender gets to hear. */
  onLanded: (key: ObjectKey, bytes: Uint8Array) => void = () => undefined;

  constructor(inner: ObjectStore, clock: VirtualClock, random: Random, weather: Weather) {
    this.#inner = inner;
    this.#clock = clock;
    this.#random = random;
    this.#weather = weather;
    this.store = this.#make();
  }

  /** The process is gone: nothing new is sent and nobody hears an answer. What is on its way lands, or none of it. */
  cut(): void {
    this.#cut = true;
    this.#landsAfterCut = this.#random.float() < 0.5;
  }

  #fate(write: "if-absent" | "write" | "read"): Fate {
    const { rate, outageUntilMs } = this.#weather;
    if (this.#clock.now() < outageUntilMs) return this.#random.float() < 0.5 ? "refused" : "hang";
    if (this.#random.float() >= rate) return "pass";
    const fates: readonly Fate[] = write === "read" ? READ_FATES : WRITE_FATES;
    if (write === "if-absent" && this.#random.float() < 0.15) return "own-412";
    return fates[Math.floor(this.#random.float() * fates.length)] as Fate;
  }

  #call<T>(
    operation: string,
    key: string,
    signal: AbortSignal | undefined,
    write: "if-absent" | "write" | "read",
    apply: () => Promise<T>,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#cut) return;
      const fate = this.#fate(write);
      if (fate !== "pass") this.#weather.count(`store ${write} ${fate}`);
      let done = false;
      const effect: Effect = write === "read" ? "none" : "unknown";
      const settle = (how: () => void): void => {
        if (done || this.#cut) return;
        done = true;
        signal?.removeEventListener("abort", onAbort);
        how();
      };
      const onAbort = (): void => settle(() => reject(new AbortedError(operation, { cause: signal?.reason, effect })));
      if (signal?.aborted === true) {
        reject(new AbortedError(operation, { cause: signal.reason }));
        return;
      }
      signal?.addEventListener("abort", onAbort, { once: true });
      const fails = (how: Effect): void => {
        const reason = { operation, key, retryable: fate !== "forbidden", status: fate === "forbidden" ? 403 : 503 };
        settle(() => reject(new ObjectStoreError(`injected: ${operation} ${fate}`, reason, { effect: how })));
      };
      const hopMs = 1 + this.#random.float() * 10;
      const lateMs = 100 + this.#random.float() * 15_000;
      const land = (afterMs: number, then: (result: Promise<T>) => void): void => {
        this.#clock.schedule(afterMs, () => {
          if (!this.#cut || this.#landsAfterCut) then(apply());
        });
      };
      const answer = (result: Promise<T>): void => {
        result.then(
          (value) => this.#clock.schedule(hopMs, () => settle(() => resolve(value))),
          (error: unknown) => settle(() => reject(error)),
        );
      };
      switch (fate) {
        case "hang":
          return;
        case "refused":
        case "forbidden":
          this.#clock.schedule(hopMs, () => fails("none"));
          return;
        case "lost-before":
          this.#clock.schedule(hopMs, () => fails(effect));
          return;
        case "late":
          this.#clock.schedule(hopMs, () => fails(effect));
          land(lateMs, (result) => void result.catch(() => undefined));
          return;
        case "lost-after":
          land(hopMs, (result) => void result.catch(() => undefined).then(() => fails(effect)));
          return;
        case "own-412":
          land(hopMs, (result) => {
            result.catch(() => undefined);
            settle(() => resolve({ kind: "condition-failed" } as T));
          });
          return;
        case "slow":
          land(lateMs / 4, answer);
          return;
        case "pass":
          land(hopMs, answer);
      }
    });
  }

  #make(): ObjectStore {
    const inner = this.#inner;
    const call = this.#call.bind(this);
    return {
      ...inner,
      get: (key, options) => call("get", key, options?.signal, "read", () => inner.get(key, unsigned(options))),
      head: (key, options) => call("head", key, options?.signal, "read", () => inner.head(key)),
      put: (key, body, options) => {
        const bytes = new Uint8Array(body);
        const kind = options.condition.kind === "if-absent" ? "if-absent" : "write";
        return call<PutOutcome>("put", key, options.signal, kind, async () => {
          const outcome = await inner.put(key, bytes, unsigned(options));
          if (outcome.kind === "written") this.onLanded(key, bytes);
          return outcome;
        });
      },
      delete: (keys, options) => call("delete", keys.join(), options?.signal, "write", () => inner.delete(keys)),
      list: (prefix, options) => listed(call, inner, prefix, options?.signal, options?.startAfter),
      createMultipart: async (key, options) => {
        const upload = await call("createMultipart", key, options?.signal, "write", () => inner.createMultipart(key));
        return this.#upload(upload);
      },
      close: () => Promise.resolve(),
    };
  }

  #upload(upload: MultipartUpload): MultipartUpload {
    const { key, uploadId } = upload;
    const call = this.#call.bind(this);
    return {
      key,
      uploadId,
      putPart: (number, body, options) => {
        const bytes = new Uint8Array(body);
        return call("uploadPart", key, options?.signal, "write", () => upload.putPart(number, bytes));
      },
      listParts: (options) => call("listParts", key, options?.signal, "read", () => upload.listParts()),
      complete: (parts, options) => call("complete", key, options?.signal, "write", () => upload.complete(parts)),
      abort: (options) => call("abort", key, options?.signal, "write", () => upload.abort()),
    };
  }
}

type Call = <T>(
  operation: string,
  key: string,
  signal: AbortSignal | undefined,
  write: "read",
  apply: () => Promise<T>,
) => Promise<T>;

async function* listed(
  call: Call,
  inner: ObjectStore,
  prefix: string,
  signal: AbortSignal | undefined,
  startAfter: ObjectKey | undefined,
): AsyncGenerator<ObjectInfo> {
  const found = await call("list", prefix, signal, "read", async () => {
    const all: ObjectInfo[] = [];
    for await (const info of inner.list(prefix, startAfter === undefined ? {} : { startAfter })) all.push(info);
    return all;
  });
  yield* found;
}

/** What landed late has no signal any more. */
function unsigned<T extends { readonly signal?: AbortSignal }>(options: T): T;
function unsigned<T extends { readonly signal?: AbortSignal }>(options: T | undefined): T | undefined;
function unsigned<T extends { readonly signal?: AbortSignal }>(options: T | undefined): T | undefined {
  if (options === undefined) return undefined;
  const { signal: _, ...rest } = options;
  return rest as T;
}
