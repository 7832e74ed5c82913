import { getEventListeners } from "node:events";

import { beforeEach, describe, expect, test } from "vitest";

import type { ObjectKey } from "../../src/domain.ts";
import { AbortedError, ObjectStoreError, type Effect } from "../../src/errors.ts";
import {
  BufferedMultipartWriter,
  type MultipartWriterOptions,
} from "../../src/object-store/buffered-multipart-writer.ts";
import { MemoryBucket, createMemoryStore } from "../../src/object-store/memory-store.ts";
import { metered, type MeteredStore } from "../../src/object-store/metered.ts";
import { PART_BYTES_MIN } from "../../src/object-store/multipart.ts";
import type { MultipartUpload, ObjectStore } from "../../src/object-store/object-store.ts";
import { PartBufferPool } from "../../src/object-store/part-buffer-pool.ts";
import { settling } from "../../src/object-store/settling.ts";
import { systemClock, type Clock } from "../../src/runtime/clock.ts";
import { seededRandom } from "../../src/runtime/random.ts";
import { filled } from "../support/filled.ts";
import { PartWatch } from "../support/part-watch.ts";
import { VirtualClock } from "../support/virtual-clock.ts";

const PART = PART_BYTES_MIN;
const KEY = "data/ab/0000-0000000001-0000000007-ff.log" as ObjectKey;
const DEADLINE_MS = 30_000;
const PARTS_IN_FLIGHT = 4;

/** A request for a part that the test ends. */
interface HeldPart {
  readonly partNumber: number;
  readonly body: Uint8Array;
  readonly signal: AbortSignal | undefined;
  /** Lets it reach the store. */
  pass(): Promise<void>;
  fail(error: Error): void;
}

let clock: VirtualClock;
let bucket: MemoryBucket;
let memory: ObjectStore;
/** Changed by tests before they open a writer. */
let faults: {
  putPart?: (commit: () => ReturnType<MultipartUpload["putPart"]>) => ReturnType<MultipartUpload["putPart"]>;
  create?: (commit: () => Promise<MultipartUpload>, signal?: AbortSignal) => Promise<MultipartUpload>;
  complete?: (commit: () => ReturnType<MultipartUpload["complete"]>) => ReturnType<MultipartUpload["complete"]>;
  abort?: (commit: () => Promise<void>) => Promise<void>;
  put?: (commit: () => ReturnType<ObjectStore["put"]>) => ReturnType<ObjectStore["put"]>;
};
/** Are parts held until the test ends them? */
let holding: boolean;
let held: HeldPart[];
let watch: PartWatch;
let meter: MeteredStore;
let pool: PartBufferPool;
let logged: string[];

beforeEach(() => {
  clock = new VirtualClock();
  bucket = new MemoryBucket();
  memory = createMemoryStore(bucket);
  faults = {};
  holding = false;
  held = [];
  logged = [];
  pool = new PartBufferPool({ partSizeBytes: PART, buffersMax: 16 });
  watch = new PartWatch({
    ...memory,
    put: (key, body, options) => {
      const commit = () => memory.put(key, body, options);
      return faults.put === undefined ? commit() : faults.put(commit);
    },
    createMultipart: (key, options) => {
      const commit = async () => faulty(await memory.createMultipart(key, options));
      return faults.create === undefined ? commit() : faults.create(commit, options?.signal);
    },
  });
  meter = metered(watch.store, clock);
});

function faulty(upload: MultipartUpload): MultipartUpload {
  return {
    ...upload,
    putPart: (partNumber, body, options) => {
      const commit = () => upload.putPart(partNumber, body);
      if (faults.putPart !== undefined) return faults.putPart(commit);
      if (!holding) return commit();
      // Deaf to its signal, as a store may be for a while.
      return new Promise((resolve, reject) => {
        const pass = () => commit().then(resolve, reject);
        held.push({ partNumber, body, signal: options?.signal, pass, fail: reject });
      });
    },
    complete: (parts, options) => {
      const commit = () => upload.complete(parts, options);
      return faults.complete === undefined ? commit() : faults.complete(commit);
    },
    abort: (options) => {
      const commit = () => upload.abort(options);
      return faults.abort === undefined ? commit() : faults.abort(commit);
    },
  };
}

function open(
  options: Partial<MultipartWriterOptions> & { requestTimeoutMs?: number; time?: Clock } = {},
): BufferedMultipartWriter {
  const { requestTimeoutMs, time = clock, ...rest } = options;
  const store = settling(meter.store, {
    clock: time,
    random: seededRandom(1),
    deadlineMs: DEADLINE_MS,
    ...(requestTimeoutMs === undefined ? {} : { requestTimeoutMs }),
  });
  return new BufferedMultipartWriter({
    store,
    key: KEY,
    pool,
    partsInFlight: PARTS_IN_FLIGHT,
    logger: { info: () => undefined, warn: (message) => logged.push(message) },
    ...rest,
  });
}

function storeError(status: number, effect: Effect, retryable: boolean): ObjectStoreError {
  return new ObjectStoreError(`scripted ${status}`, { operation: "x", key: KEY, status, retryable }, { effect });
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function until(condition: () => boolean): Promise<void> {
  const startedAt = performance.now();
  while (!condition()) {
    if (performance.now() - startedAt > 5_000) throw new Error("it did not come to that");
    await turn();
  }
}

/** undefined while `promise` is pending. */
function observed<T>(promise: Promise<T>): () => { readonly value?: T; readonly error?: unknown } | undefined {
  let settled: { readonly value?: T; readonly error?: unknown } | undefined;
  promise.then(
    (value) => (settled = { value }),
    (error: unknown) => (settled = { error }),
  );
  return () => settled;
}

function requests(): Record<string, number> {
  const { put, createMultipart, uploadPart, completeMultipart, abortMultipart } = meter.metrics();
  return {
    put: put.requests,
    create: createMultipart.requests,
    part: uploadPart.requests,
    complete: completeMultipart.requests,
    abort: abortMultipart.requests,
  };
}

async function stored(): Promise<Uint8Array | undefined> {
  return (await memory.get(KEY))?.body;
}

function expectNothingHeld(writer: BufferedMultipartWriter): void {
  expect([writer.bufferedBytes, pool.inUse, pool.waiting, watch.inFlight]).toEqual([0, 0, 0, 0]);
  expect(watch.changed).toEqual([]);
  expect(clock.pending).toBe(0);
}

describe("bounds", () => {
  test("write waits where it would take one buffer more than partsInFlight + 1, and goes on as parts are done", async () => {
    holding = true;
    const writer = open();
    const body = filled(10 * PART, 1);
    const written = observed(writer.write(body));
    await until(() => writer.bytesAccepted === (PARTS_IN_FLIGHT + 1) * PART);
    for (let i = 0; i < 20; i++) await turn();
    expect(held.map((part) => part.partNumber)).toEqual([1, 2, 3, 4]);
    expect([writer.bytesAccepted, writer.bufferedBytes, pool.inUse]).toEqual([5 * PART, 5 * PART, 5]);
    await held[1]?.pass();
    await until(() => held.length === 5);
    await until(() => writer.bytesAccepted === 6 * PART);
    expect([writer.bufferedBytes, written()]).toEqual([5 * PART, undefined]);
    for (let i = 0; i < 10; i++) {
      await until(() => held.length > i);
      if (i !== 1) await held[i]?.pass();
    }
    await until(() => written() !== undefined);
    expect(await writer.finish()).toEqual({ sizeBytes: 10 * PART, parts: 10 });
    expect(Buffer.compare((await stored()) ?? Buffer.alloc(0), body)).toBe(0);
    expect(watch.inFlightMax).toBe(PARTS_IN_FLIGHT);
    expectNothingHeld(writer);
  });

  test("three writers over one small pool, chunks and answers in any order: whole objects, within every bound", async () => {
    pool = new PartBufferPool({ partSizeBytes: PART, buffersMax: 4 });
    const random = seededRandom(42);
    faults.putPart = async (commit) => {
      for (let turns = random.float() * 20; turns > 0; turns--) await turn();
      if (random.float() < 0.2) throw storeError(503, "none", true);
      return commit();
    };
    const one = async (name: string): Promise<void> => {
      const key = `${KEY}-${name}` as ObjectKey;
      const writer = open({ key, partsInFlight: 2, time: systemClock });
      const chunks: Uint8Array[] = [];
      for (let left = 22 * 1024 * 1024; left > 0;) {
        const chunk = filled(Math.min(left, Math.floor(random.float() ** 3 * 9_000_000) + 1), chunks.length);
        chunks.push(Uint8Array.from(chunk));
        left -= chunk.length;
        const written = writer.write(chunk);
        expect(writer.bufferedBytes).toBeLessThanOrEqual(3 * PART);
        await written;
        expect(writer.bufferedBytes).toBeLessThanOrEqual(3 * PART);
        expect(pool.inUse).toBeLessThanOrEqual(4);
        // What was taken is the writer's own.
        chunk.fill(0);
      }
      expect(await writer.finish()).toEqual({ sizeBytes: 22 * 1024 * 1024, parts: 5 });
      const object = await memory.get(key);
      expect(Buffer.compare(object?.body ?? Buffer.alloc(0), Buffer.concat(chunks))).toBe(0);
    };
    await Promise.all(["a", "b", "c"].map(one));
    expect(pool.sizeBytes).toBe(4 * PART);
    expect([pool.inUse, pool.waiting]).toEqual([0, 0]);
    expect(watch.changed).toEqual([]);
    expect(watch.inFlightMax).toBeLessThanOrEqual(6);
    expect(meter.metrics().uploadPart.errors).toBeGreaterThan(0);
  });

  test("one buffer is enough for a writer", async () => {
    pool = new PartBufferPool({ partSizeBytes: PART, buffersMax: 1 });
    const writer = open();
    await writer.write(filled(3 * PART + 1, 1));
    expect(await writer.finish()).toEqual({ sizeBytes: 3 * PART + 1, parts: 4 });
    expect(Buffer.compare((await stored()) ?? Buffer.alloc(0), filled(3 * PART + 1, 1))).toBe(0);
    expectNothingHeld(writer);
  });

  test("a chunk of 60 MiB is copied in turns of the event loop, however free the buffers are", async () => {
    const writer = open({ partsInFlight: 15 });
    const written = observed(writer.write(filled(60 * 1024 * 1024, 1)));
    let most = 0;
    while (written() === undefined) {
      const before = writer.bytesAccepted;
      await turn();
      most = Math.max(most, writer.bytesAccepted - before);
    }
    expect(written()).toEqual({ value: undefined });
    // Steps share half a millisecond of a turn, however many those are.
    expect(most).toBeLessThanOrEqual(20 * 1024 * 1024);
    await writer.finish();
  });

  test("many parts under way are no reason for Node to warn of a leak", async () => {
    const warnings: string[] = [];
    const onWarning = ({ name }: Error): unknown => warnings.push(name);
    process.on("warning", onWarning);
    holding = true;
    await using writer = open({ partsInFlight: 12 });
    const written = writer.write(filled(12 * PART + 1, 1));
    await until(() => held.length === 12);
    await turn();
    for (const part of held.splice(0)) await part.pass();
    await written;
    holding = false;
    await writer.finish();
    process.off("warning", onWarning);
    expect(warnings).toEqual([]);
  });

  test("F27 never a part too many: the chunk is refused whole, and the writer goes on", async () => {
    const writer = open({ partsMax: 3 });
    await writer.write(filled(2 * PART, 1));
    expect(writer.bytesLeft).toBe(PART);
    await expect(writer.write(filled(PART + 1, 2))).rejects.toMatchObject({ code: "TIERLOG_INVALID_ARGUMENT" });
    expect(writer.bytesAccepted).toBe(2 * PART);
    await writer.write(filled(PART, 3));
    expect(writer.bytesLeft).toBe(0);
    await writer.write(new Uint8Array(0));
    await expect(writer.write(filled(1, 4))).rejects.toThrow("3 parts");
    expect(await writer.finish()).toEqual({ sizeBytes: 3 * PART, parts: 3 });
    expect(open().bytesLeft).toBe(10_000 * PART);
  });

  test("settings that no store takes are refused", () => {
    expect(() => open({ pool: new PartBufferPool({ partSizeBytes: PART - 1, buffersMax: 1 }) })).toThrow("partSize");
    expect(() => open({ partsInFlight: 0 })).toThrow("partsInFlight");
    expect(() => open({ partsMax: 10_001 })).toThrow("partsMax");
  });
});

describe("a buffer stays with its part", () => {
  test("until the last attempt has let go, however late: a timeout alone frees nothing", async () => {
    pool = new PartBufferPool({ partSizeBytes: PART, buffersMax: 2 });
    holding = true;
    const writer = open({ partsInFlight: 1, requestTimeoutMs: 1_000 });
    const body = filled(4 * PART, 1);
    const written = observed(writer.write(body));
    await until(() => held.length === 1 && writer.bytesAccepted === 2 * PART);
    clock.runNext();
    await turn();
    expect(held[0]?.signal?.aborted).toBe(true);
    expect([held.length, pool.inUse, pool.waiting]).toEqual([1, 2, 0]);
    expect(Buffer.compare(held[0]?.body ?? Buffer.alloc(0), body.subarray(0, PART))).toBe(0);
    held[0]?.fail(storeError(503, "none", true));
    await until(() => clock.pending > 0);
    expect(clock.runNext()).toBe(true);
    await until(() => held.length === 2);
    // The next attempt sends the very same memory.
    expect(held[1]?.body.buffer).toBe(held[0]?.body.buffer);
    expect(held[1]?.partNumber).toBe(1);
    for (let i = 1; i < 5; i++) {
      await until(() => held.length > i);
      await held[i]?.pass();
    }
    await until(() => written() !== undefined);
    await writer.finish();
    expect(Buffer.compare((await stored()) ?? Buffer.alloc(0), body)).toBe(0);
    expectNothingHeld(writer);
  });
});

describe("failure", () => {
  test("F18 part 3 hopeless: fails before any other part settles, and sends nothing further but the abort", async () => {
    holding = true;
    const writer = open();
    const written = observed(writer.write(filled(12 * PART, 1)));
    await until(() => held.length === 4 && writer.bytesAccepted === 5 * PART);
    held[2]?.fail(storeError(403, "none", false));
    await until(() => written() !== undefined);
    expect(written()).toMatchObject({ error: { code: "TIERLOG_OBJECT_STORE", status: 403, effect: "none" } });
    for (const index of [0, 1, 3]) expect(held[index]?.signal?.aborted).toBe(true);
    // The store still reads parts 1, 2 and 4.
    expect([pool.inUse, watch.inFlight]).toEqual([3, 3]);
    expect(requests()).toEqual({ put: 0, create: 1, part: 4, complete: 0, abort: 0 });
    await expect(writer.write(filled(1, 1))).rejects.toMatchObject({ status: 403 });
    await expect(writer.finish()).rejects.toMatchObject({ status: 403 });
    await held[0]?.pass();
    held[1]?.fail(storeError(503, "none", true));
    await held[3]?.pass();
    await writer.abandon();
    expect(requests()).toEqual({ put: 0, create: 1, part: 4, complete: 0, abort: 1 });
    expect(clock.now()).toBe(0);
    expect(bucket.uploads.size).toBe(0);
    expectNothingHeld(writer);
  });

  test("while finish waits: at once, and nothing is completed", async () => {
    holding = true;
    const writer = open();
    await writer.write(filled(3 * PART, 1));
    const finished = observed(writer.finish());
    await until(() => held.length === 3);
    held[2]?.fail(storeError(400, "none", false));
    await until(() => finished() !== undefined);
    expect(finished()).toMatchObject({ error: { status: 400 } });
    await Promise.all([held[0]?.pass(), held[1]?.pass()]);
    await writer.abandon();
    expect(requests()).toMatchObject({ part: 3, complete: 0, abort: 1 });
    expectNothingHeld(writer);
  });

  test("with no call under way: the next one hears of it", async () => {
    holding = true;
    const writer = open();
    await writer.write(filled(PART + 1, 1));
    await until(() => held.length === 1);
    held[0]?.fail(storeError(403, "none", false));
    await until(() => pool.inUse === 0);
    await expect(writer.finish()).rejects.toMatchObject({ status: 403 });
    await writer.abandon();
    expect(requests()).toMatchObject({ part: 1, complete: 0, abort: 1 });
  });

  test("an upload that cannot be started fails the writer; there is nothing to abort", async () => {
    faults.create = () => Promise.reject(storeError(403, "none", false));
    const writer = open();
    const failing = writer.write(filled(PART + 1, 1)).then(() => writer.finish());
    await expect(failing).rejects.toMatchObject({ status: 403 });
    await writer.abandon();
    expect(requests()).toEqual({ put: 0, create: 1, part: 0, complete: 0, abort: 0 });
    expectNothingHeld(writer);
  });

  test("a completion in doubt: effect unknown, and no abort, because the upload may be the object", async () => {
    faults.complete = async (commit) => {
      await commit();
      throw storeError(403, "unknown", false);
    };
    const writer = open();
    await writer.write(filled(PART + 1, 1));
    await expect(writer.finish()).rejects.toMatchObject({ effect: "unknown" });
    await writer.abandon();
    expect(requests()).toMatchObject({ complete: 1, abort: 0 });
    expect(logged).toEqual(["an upload whose completion is in doubt is left as it is"]);
    expect((await stored())?.length).toBe(PART + 1);
    expectNothingHeld(writer);
  });

  test("a completion that was refused: effect none, and the upload is aborted", async () => {
    faults.complete = () => Promise.reject(storeError(400, "none", false));
    const writer = open();
    await writer.write(filled(PART + 1, 1));
    await expect(writer.finish()).rejects.toMatchObject({ status: 400, effect: "none" });
    await writer.abandon();
    expect(requests()).toMatchObject({ complete: 1, abort: 1 });
    expect(bucket.uploads.size).toBe(0);
  });

  test("a put whose answer was lost is found by its bytes; other bytes under the name are an alarm", async () => {
    faults.put = async (commit) => {
      await commit();
      throw storeError(500, "unknown", true);
    };
    const writer = open();
    await writer.write(filled(1000, 1));
    expect(await writer.finish()).toEqual({ sizeBytes: 1000, parts: 0 });
    expect(requests()).toMatchObject({ put: 1 });
    const second = open();
    await second.write(filled(1000, 2));
    await expect(second.finish()).rejects.toMatchObject({ code: "TIERLOG_INVARIANT", effect: "none" });
    expect(Buffer.compare((await stored()) ?? Buffer.alloc(0), filled(1000, 1))).toBe(0);
    expectNothingHeld(second);
  });
});

describe("the caller's signal", () => {
  test("fails the writer, with its reason", async () => {
    const aborted = { code: "TIERLOG_ABORTED", cause: { message: "stop" } };
    const early = open({ signal: AbortSignal.abort(new Error("stop")) });
    await expect(early.write(filled(1, 1))).rejects.toMatchObject(aborted);
    await early.abandon();
    const controller = new AbortController();
    holding = true;
    const writer = open({ signal: controller.signal });
    const written = observed(writer.write(filled(8 * PART, 1)));
    await until(() => held.length === 4);
    controller.abort(new Error("stop"));
    await until(() => written() !== undefined);
    expect(written()).toMatchObject({ error: aborted });
    await Promise.all(held.map((part) => part.pass()));
    await writer.abandon();
    expect(requests()).toMatchObject({ part: 4, complete: 0, abort: 1 });
    expectNothingHeld(writer);
  });

  test("does nothing after finish, and is let go of, whatever the end", async () => {
    const controller = new AbortController();
    const writer = open({ signal: controller.signal });
    const other = open({ signal: controller.signal, key: `${KEY}2` as ObjectKey });
    await writer.write(filled(PART + 1, 1));
    expect(getEventListeners(controller.signal, "abort").length).toBeGreaterThan(0);
    await writer.finish();
    await other.abandon();
    expect(getEventListeners(controller.signal, "abort")).toEqual([]);
    controller.abort(new Error("stop"));
    await writer.abandon();
    expect(requests()).toMatchObject({ complete: 1, abort: 0 });
  });
});

describe("the end", () => {
  test("finish twice and write after finish are refused, and change nothing", async () => {
    const writer = open();
    await writer.write(filled(PART + 1, 1));
    await writer.finish();
    await expect(writer.finish()).rejects.toMatchObject({ code: "TIERLOG_CLOSED" });
    await expect(writer.write(filled(1, 1))).rejects.toMatchObject({ code: "TIERLOG_CLOSED" });
    await writer.abandon();
    expect(requests()).toMatchObject({ create: 1, part: 2, complete: 1, abort: 0 });
    expect((await stored())?.length).toBe(PART + 1);
    expectNothingHeld(writer);
  });

  test("a call while a write has not settled is refused", async () => {
    holding = true;
    const writer = open();
    const written = observed(writer.write(filled(8 * PART, 1)));
    await until(() => held.length === 4);
    await expect(writer.write(filled(1, 1))).rejects.toMatchObject({ code: "TIERLOG_INVARIANT" });
    await expect(writer.finish()).rejects.toMatchObject({ code: "TIERLOG_INVARIANT" });
    expect(written()).toBeUndefined();
    holding = false;
    await Promise.all(held.map((part) => part.pass()));
    await until(() => written() !== undefined);
    expect(await writer.finish()).toMatchObject({ parts: 8 });
  });

  test("abandon, before anything, in the middle of a write, and again", async () => {
    const unused = open();
    await unused.abandon();
    await expect(unused.write(filled(1, 1))).rejects.toMatchObject({ code: "TIERLOG_ABORTED" });
    expect(requests()).toEqual({ put: 0, create: 0, part: 0, complete: 0, abort: 0 });

    holding = true;
    const writer = open();
    const written = observed(writer.write(filled(8 * PART, 1)));
    await until(() => held.length === 4);
    const abandoned = observed(writer.abandon());
    await until(() => written() !== undefined);
    expect(written()).toMatchObject({ error: { code: "TIERLOG_ABORTED" } });
    for (let i = 0; i < 5; i++) await turn();
    expect(abandoned()).toBeUndefined();
    await Promise.all(held.map((part) => part.pass()));
    await until(() => abandoned() !== undefined);
    await writer.abandon();
    expect(requests()).toMatchObject({ part: 4, complete: 0, abort: 1 });
    expectNothingHeld(writer);
  });

  test("abandon while the upload is being started: it is waited for and aborted, not lost", async () => {
    let start: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => (start = resolve));
    faults.create = async (commit, signal) => {
      const upload = await commit();
      await gate;
      // As a store does that hears its signal: the answer, and with it the name of the upload, is lost.
      if (signal?.aborted === true) throw new AbortedError("createMultipart");
      return upload;
    };
    const writer = open();
    await writer.write(filled(PART + 1, 1));
    const abandoned = observed(writer.abandon());
    for (let i = 0; i < 5; i++) await turn();
    // The buffers do not wait for it.
    expect([abandoned(), pool.inUse, bucket.uploads.size]).toEqual([undefined, 0, 1]);
    start();
    await until(() => abandoned() !== undefined);
    expect(bucket.uploads.size).toBe(0);
    expect(requests()).toEqual({ put: 0, create: 1, part: 0, complete: 0, abort: 1 });
  });

  test("abandon while finish completes: the answer that comes all the same counts", async () => {
    let writer = open();
    faults.complete = async (commit) => {
      const outcome = await commit();
      void writer.abandon();
      return outcome;
    };
    await writer.write(filled(PART + 1, 1));
    expect(await writer.finish()).toMatchObject({ parts: 2 });
    await writer.abandon();
    expect(requests()).toMatchObject({ complete: 1, abort: 0 });
    writer = open();
    expectNothingHeld(writer);
  });

  test("an upload that cannot be aborted is logged, and abandon does not reject", async () => {
    faults.abort = () => Promise.reject(storeError(403, "none", false));
    const writer = open();
    await writer.write(filled(PART + 1, 1));
    await writer.abandon();
    expect(logged).toEqual(["an upload could not be aborted and stays behind"]);
    expectNothingHeld(writer);
  });

  test("a block that is left without finish abandons, and one that finished does not", async () => {
    const fill = async (finish: boolean): Promise<void> => {
      await using writer = open();
      await writer.write(filled(PART + 1, 1));
      if (finish) await writer.finish();
    };
    await fill(false);
    expect(await stored()).toBeUndefined();
    expect([bucket.uploads.size, pool.inUse]).toEqual([0, 0]);
    await fill(true);
    expect((await stored())?.length).toBe(PART + 1);
  });
});
