import { beforeEach, describe, expect, test } from "vitest";

import type { ObjectKey } from "../../src/domain.ts";
import { AbortedError, ObjectStoreError, type Effect, type TierlogError } from "../../src/errors.ts";
import { MemoryBucket, createMemoryStore } from "../../src/object-store/memory-store.ts";
import { metered, type MeteredStore } from "../../src/object-store/metered.ts";
import { PART_BYTES_MIN } from "../../src/object-store/multipart.ts";
import type { MultipartUpload, ObjectStore, UploadedPart } from "../../src/object-store/object-store.ts";
import { settling } from "../../src/object-store/settling.ts";
import { seededRandom } from "../../src/runtime/random.ts";
import { VirtualClock } from "../support/virtual-clock.ts";

const KEY = "data/ab/0000-0000000001-0000000007-ff.log" as ObjectKey;
const DEADLINE_MS = 30_000;
const BODIES = [new Uint8Array(PART_BYTES_MIN).fill(1), new Uint8Array(100).fill(2)];
const SIZE_BYTES = PART_BYTES_MIN + 100;

/** What happens to one request. `commit` runs it on the real store. */
type Fault = (commit: () => Promise<unknown>, signal: AbortSignal | undefined) => Promise<unknown>;

const ok: Fault = (commit) => commit();
const fail =
  (status: number | undefined, effect: Effect, retryable = true): Fault =>
  () =>
    Promise.reject(storeError(status, effect, retryable));
const answerLost: Fault = async (commit) => {
  await commit();
  throw storeError(undefined, "unknown", true);
};
const lostBefore = fail(undefined, "unknown");
const refused = fail(undefined, "none");
const gone: Fault = async () => ({ kind: "gone" });
const silent: Fault = (_, signal) =>
  new Promise((_resolve, reject) => {
    signal?.addEventListener("abort", () => reject(new AbortedError("complete", { effect: "unknown" })), {
      once: true,
    });
  });
const forever = (fault: Fault): Fault[] => Array.from({ length: 10_000 }, () => fault);

let clock: VirtualClock;
let bucket: MemoryBucket;
let direct: ObjectStore;
let meter: MeteredStore;
/** By operation, one after the other; after its end everything works. */
let script: Record<"create" | "part" | "complete" | "abort" | "parts" | "head", Fault[]>;

beforeEach(() => {
  clock = new VirtualClock();
  bucket = new MemoryBucket();
  direct = createMemoryStore(bucket);
  script = { create: [], part: [], complete: [], abort: [], parts: [], head: [] };
  const faulty: ObjectStore = {
    ...direct,
    head: (key, options) => play("head", () => direct.head(key, options), options?.signal),
    createMultipart: (key, options) =>
      play(
        "create",
        async () => {
          const upload = await direct.createMultipart(key, options);
          return {
            ...upload,
            putPart: (partNumber, body, o) => play("part", () => upload.putPart(partNumber, body, o), o?.signal),
            complete: (parts, o) => play("complete", () => upload.complete(parts, o), o?.signal),
            listParts: (o) => play("parts", () => upload.listParts(o), o?.signal),
            abort: (o) => play("abort", () => upload.abort(o), o?.signal),
          } satisfies MultipartUpload;
        },
        options?.signal,
      ),
  };
  meter = metered(faulty, clock);
});

function play<T>(
  operation: keyof typeof script,
  commit: () => Promise<T>,
  signal: AbortSignal | undefined,
): Promise<T> {
  return (script[operation].shift() ?? ok)(commit, signal) as Promise<T>;
}

function storeError(status: number | undefined, effect: Effect, retryable: boolean): ObjectStoreError {
  const details = { operation: "completeMultipart", key: KEY, status, retryable };
  return new ObjectStoreError(`scripted ${status ?? "reset"}`, details, { effect });
}

async function uploaded(
  requestTimeoutMs?: number,
): Promise<{ readonly upload: MultipartUpload; readonly parts: readonly UploadedPart[] }> {
  const store = settling(meter.store, {
    clock,
    random: seededRandom(7),
    deadlineMs: DEADLINE_MS,
    ...(requestTimeoutMs === undefined ? {} : { requestTimeoutMs }),
  });
  const upload = await clock.run(store.createMultipart(KEY));
  const parts: UploadedPart[] = [];
  for (const [i, body] of BODIES.entries()) parts.push(await clock.run(upload.putPart(i + 1, body)));
  return { upload, parts };
}

async function complete(signal?: AbortSignal): Promise<unknown> {
  const { upload, parts } = await uploaded();
  return clock.run(upload.complete(parts, signal === undefined ? {} : { signal }));
}

async function errorOf(promise: Promise<unknown>): Promise<TierlogError & { attempts?: number }> {
  return promise.then(
    (value) => {
      throw new Error(`expected an error, got ${JSON.stringify(value)}`);
    },
    (error: TierlogError) => error,
  );
}

const sizeStored = async (): Promise<number | undefined> => (await direct.head(KEY))?.sizeBytes;
const COMPLETED = { kind: "completed" };

describe("complete", () => {
  test("a clean 200 is one request", async () => {
    expect(await complete()).toEqual(COMPLETED);
    expect(meter.metrics()).toMatchObject({ completeMultipart: { requests: 1 }, head: { requests: 0 } });
    expect(clock.pending).toBe(0);
  });

  test("F06 409: looked for, then the same parts again", async () => {
    script.complete = [fail(409, "unknown"), fail(409, "unknown")];
    expect(await complete()).toEqual(COMPLETED);
    expect(meter.metrics()).toMatchObject({
      completeMultipart: { requests: 3 },
      head: { requests: 2 },
      abortMultipart: { requests: 0 },
    });
    expect(await sizeStored()).toBe(SIZE_BYTES);
  });

  test("F07 200 with an error in its body, before or after the object was made", async () => {
    script.complete = [fail(503, "unknown")];
    expect(await complete()).toEqual(COMPLETED);
    expect(meter.metrics().completeMultipart.requests).toBe(2);
    script.complete = [answerLost];
    expect(await complete()).toEqual(COMPLETED);
    expect(meter.metrics().completeMultipart.requests).toBe(3);
  });

  test("F08 made, answer lost: found by its size; no abort was sent, and nothing was named twice", async () => {
    script.complete = [answerLost];
    expect(await complete()).toEqual(COMPLETED);
    expect(meter.metrics()).toMatchObject({
      completeMultipart: { requests: 1 },
      head: { requests: 1 },
      abortMultipart: { requests: 0 },
    });
  });

  test("F08 made, answer lost, not seen at first: NoSuchUpload to the second attempt is our own success", async () => {
    script.complete = [answerLost];
    script.head = [async () => undefined];
    script.parts = [async () => []];
    expect(await complete()).toEqual(COMPLETED);
    expect(meter.metrics().completeMultipart.requests).toBe(2);
  });

  test("F09 really gone: an error, effect none, at once; never success", async () => {
    script.complete = [gone];
    const error = await errorOf(complete());
    expect(error).toMatchObject({ code: "TIERLOG_OBJECT_STORE", status: 404, retryable: false, effect: "none" });
    expect(error.message).toContain("upload again from the source");
    expect(clock.now()).toBe(0);
  });

  test("F09 gone after an attempt in doubt: effect unknown, because that one was never settled", async () => {
    script.complete = [lostBefore, gone];
    expect(await errorOf(complete())).toMatchObject({ retryable: false, effect: "unknown", status: 404 });
  });

  test("a store that says 500 to an upload that is gone is asked for its parts", async () => {
    const { upload, parts } = await uploaded();
    await direct.close();
    direct = createMemoryStore(bucket);
    await clock.run(upload.abort().catch(() => undefined));
    script.complete = forever(fail(500, "unknown"));
    script.parts = forever(async () => undefined);
    script.head = forever(async () => undefined);
    expect(await errorOf(clock.run(upload.complete(parts)))).toMatchObject({ retryable: false, effect: "unknown" });
    expect(meter.metrics().completeMultipart.requests).toBe(1);
  });

  test("made between the look at the key and the look at the parts: success", async () => {
    script.complete = [answerLost];
    script.head = [async () => undefined];
    expect(await complete()).toEqual(COMPLETED);
    expect(meter.metrics()).toMatchObject({ completeMultipart: { requests: 1 }, head: { requests: 2 } });
  });

  test("a store that lists no parts can still complete", async () => {
    script.complete = [lostBefore];
    script.parts = [fail(403, "none", false)];
    expect(await complete()).toEqual(COMPLETED);
  });

  test("connections refused need no look", async () => {
    script.complete = [refused, refused];
    expect(await complete()).toEqual(COMPLETED);
    expect(meter.metrics()).toMatchObject({ completeMultipart: { requests: 3 }, head: { requests: 0 } });
  });

  test("an object of another size under a name of ours is an alarm, not a success", async () => {
    await direct.put(KEY, Buffer.from("somebody else's"), { condition: { kind: "none" } });
    script.complete = [gone];
    expect(await errorOf(complete())).toMatchObject({ code: "TIERLOG_INVARIANT", effect: "none" });
    script.complete = [lostBefore];
    expect(await errorOf(complete())).toMatchObject({ code: "TIERLOG_OBJECT_STORE", effect: "unknown" });
  });

  test("past the deadline: effect unknown when one attempt may have made it, else none", async () => {
    script.complete = [lostBefore, ...forever(refused)];
    const error = await errorOf(complete());
    expect(error).toMatchObject({ effect: "unknown", retryable: true });
    expect(error.attempts).toBeGreaterThan(5);
    expect(clock.now()).toBeLessThanOrEqual(DEADLINE_MS);
    script.complete = forever(refused);
    expect(await errorOf(complete())).toMatchObject({ effect: "none", retryable: true });
    expect(clock.pending).toBe(0);
  });

  test("a look that is forbidden is never taken for absent", async () => {
    script.complete = [lostBefore];
    script.head = [fail(403, "none", false)];
    expect(await errorOf(complete())).toMatchObject({ status: 403, effect: "unknown" });
    expect(meter.metrics().completeMultipart.requests).toBe(1);
  });

  test("errors that no retry helps come out at once", async () => {
    script.complete = [fail(400, "none", false)];
    expect(await errorOf(complete())).toMatchObject({ status: 400, effect: "none", attempts: 1 });
  });

  test("a silent store is cut at the request timeout, then looked at", async () => {
    const { upload, parts } = await uploaded(2_000);
    script.complete = [silent];
    expect(await clock.run(upload.complete(parts))).toEqual(COMPLETED);
    expect(clock.now()).toBeGreaterThanOrEqual(2_000);
    expect(clock.pending).toBe(0);
  });

  test("the caller's signal: effect none before it was sent, unknown after", async () => {
    const before = await errorOf(complete(AbortSignal.abort(new Error("stop"))));
    expect(before).toMatchObject({ code: "TIERLOG_ABORTED", effect: "none" });
    const controller = new AbortController();
    script.complete = [
      (commit, signal) => {
        queueMicrotask(() => controller.abort(new Error("stop")));
        return silent(commit, signal);
      },
    ];
    const during = await errorOf(complete(controller.signal));
    expect(during).toMatchObject({ code: "TIERLOG_ABORTED", effect: "unknown", cause: { message: "stop" } });
  });
});

describe("the other calls of an upload are repeated", () => {
  test("createMultipart, putPart, listParts and abort go on after 5xx and lost answers", async () => {
    script.create = [fail(503, "none"), fail(undefined, "none")];
    script.part = [fail(500, "none"), answerLost, ok, fail(429, "none")];
    const { upload, parts } = await uploaded();
    script.parts = [fail(503, "none")];
    expect(await clock.run(upload.listParts())).toEqual(parts);
    script.abort = [answerLost];
    await clock.run(upload.abort());
    expect(bucket.uploads.size).toBe(0);
    const { createMultipart, uploadPart, abortMultipart, list } = meter.metrics();
    expect([createMultipart.requests, uploadPart.requests, abortMultipart.requests, list.requests]).toEqual([
      3, 5, 2, 1,
    ]);
  });

  test("a part fails with its attempts at the deadline, at once where no retry helps, and for good once it is gone", async () => {
    const { upload } = await uploaded();
    script.part = forever(fail(503, "none"));
    const late = await errorOf(clock.run(upload.putPart(3, Buffer.from("x"))));
    expect(late).toMatchObject({ status: 503, effect: "none" });
    expect(late.attempts).toBeGreaterThan(5);
    script.part = [fail(403, "none", false)];
    expect(await errorOf(clock.run(upload.putPart(3, Buffer.from("x"))))).toMatchObject({ attempts: 1 });
    script.part = [];
    await clock.run(upload.abort());
    const lost = await errorOf(clock.run(upload.putPart(3, Buffer.from("x"))));
    expect(lost).toMatchObject({ status: 404, attempts: 1, retryable: false });
  });
});
