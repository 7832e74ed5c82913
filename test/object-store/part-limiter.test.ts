import { setMaxListeners } from "node:events";

import { beforeEach, describe, expect, test } from "vitest";

import type { ObjectKey } from "../../src/domain.ts";
import { AbortedError, ObjectStoreError } from "../../src/errors.ts";
import { BufferedMultipartWriter } from "../../src/object-store/buffered-multipart-writer.ts";
import { createMemoryStore } from "../../src/object-store/memory-store.ts";
import { PART_BYTES_MIN } from "../../src/object-store/multipart.ts";
import type { MultipartUpload, ObjectStore } from "../../src/object-store/object-store.ts";
import { PartBufferPool } from "../../src/object-store/part-buffer-pool.ts";
import { CLEAN_PARTS_PER_STEP, PartLimiter } from "../../src/object-store/part-limiter.ts";
import { settling } from "../../src/object-store/settling.ts";
import { sleep } from "../../src/runtime/clock.ts";
import { Semaphore } from "../../src/runtime/mutex.ts";
import { seededRandom } from "../../src/runtime/random.ts";
import { filled } from "../support/filled.ts";
import { VirtualClock } from "../support/virtual-clock.ts";

const NEVER = new AbortController().signal;
setMaxListeners(0, NEVER);

/** A part that the test ends. */
interface Held {
  end(): void;
  fail(): void;
}

describe("the limit", () => {
  let limiter: PartLimiter;
  let held: Held[];
  let logged: unknown[];

  beforeEach(() => {
    held = [];
    logged = [];
    const logger = { info: () => undefined, warn: (_: string, fields?: object) => logged.push(fields) };
    limiter = new PartLimiter({ partsMax: 8, clock: new VirtualClock(), logger });
  });

  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

  function start(count: number, signal: AbortSignal = NEVER): Promise<unknown>[] {
    return Array.from({ length: count }, () => {
      const send = (): Promise<void> =>
        new Promise((resolve, reject) => held.push({ end: resolve, fail: () => reject(new Error("hopeless")) }));
      const run = limiter.run(send, signal);
      run.catch(() => undefined);
      return run;
    });
  }

  async function endAll(): Promise<void> {
    while (held.length > 0) {
      held.shift()?.end();
      await turn();
    }
  }

  test("parts beyond it wait, and come in order as others end, also by failing", async () => {
    void start(10);
    expect([held.length, limiter.inFlight, limiter.limit]).toEqual([8, 8, 8]);
    held[3]?.fail();
    await turn();
    expect([held.length, limiter.inFlight]).toEqual([9, 8]);
    await endAll();
    expect(limiter.inFlight).toBe(0);
  });

  test("it is halved, one cut for all that were under way together, and never below 1", () => {
    const together = [1, 2, 3].map(() => limiter.attemptBegins());
    for (const throttled of together) throttled();
    expect([limiter.limit, limiter.throttled]).toEqual([4, 3]);
    const limits = [1, 2, 3, 4].map(() => {
      limiter.attemptBegins()();
      return limiter.limit;
    });
    expect(limits).toEqual([2, 1, 1, 1]);
    expect(logged).toEqual([{ parts: 4 }, { parts: 2 }, { parts: 1 }]);
  });

  test("what counts is how many were on their way, not how many might have been", () => {
    void start(3);
    limiter.attemptBegins()();
    expect(limiter.limit).toBe(1);
  });

  test("after a cut nothing starts before the crowd is below it", async () => {
    void start(8);
    limiter.attemptBegins()();
    void start(2);
    for (const part of held.splice(0, 4)) part.end();
    await turn();
    expect([limiter.limit, limiter.inFlight, held.length]).toEqual([4, 4, 4]);
    held.shift()?.end();
    await turn();
    expect([limiter.inFlight, held.length]).toEqual([4, 4]);
  });

  test("it grows by one after a row of clean parts, up to what it was", async () => {
    for (let i = 0; i < 3; i++) limiter.attemptBegins()();
    expect(limiter.limit).toBe(1);
    void start(CLEAN_PARTS_PER_STEP - 1);
    await endAll();
    // A complaint in between: the row begins anew.
    limiter.attemptBegins()();
    void start(CLEAN_PARTS_PER_STEP - 1);
    await endAll();
    expect(limiter.limit).toBe(1);
    void start(1);
    await endAll();
    expect(limiter.limit).toBe(2);
    void start(20 * CLEAN_PARTS_PER_STEP);
    await endAll();
    expect(limiter.limit).toBe(8);
  });

  test("one that waits is let go by its signal, and takes no place", async () => {
    void start(8);
    const controller = new AbortController();
    const [waiting] = start(1, controller.signal);
    const [next] = start(1);
    controller.abort(new Error("stop"));
    await expect(waiting).rejects.toMatchObject({ code: "TIERLOG_ABORTED" });
    held.shift()?.end();
    await turn();
    expect([held.length, limiter.inFlight]).toEqual([8, 8]);
    await endAll();
    await next;
    const [late] = start(1, controller.signal);
    await expect(late).rejects.toMatchObject({ code: "TIERLOG_ABORTED" });
    expect([held.length, limiter.inFlight]).toEqual([0, 0]);
  });

  test.each([0, 1.5, Number.NaN])("%d parts at a time are refused", (partsMax) => {
    expect(() => new PartLimiter({ partsMax, clock: new VirtualClock() })).toThrow("partsMax");
  });
});

describe("uploads over a store that takes few parts at a time", () => {
  const PARTS_MAX = 8;
  let clock: VirtualClock;
  let limiter: PartLimiter;
  let store: ObjectStore;
  let memory: ObjectStore;
  let limited: ObjectStore;
  /** What the store stands. */
  let capacity: number;
  /** What it answers beyond. */
  let status: number;
  let refused: number;
  /** Attempts under way in the store, and the most there were. */
  let crowd: number;
  let crowdMax: number;

  beforeEach(() => {
    clock = new VirtualClock();
    limiter = new PartLimiter({ partsMax: PARTS_MAX, clock });
    memory = createMemoryStore();
    capacity = 2;
    status = 503;
    crowd = 0;
    refused = 0;
    crowdMax = 0;
    limited = {
      ...memory,
      createMultipart: async (key, options) => busy(await memory.createMultipart(key, options)),
    };
    store = settling(limited, { clock, random: seededRandom(1), deadlineMs: 60_000, partLimiter: limiter });
  });

  function busy(upload: MultipartUpload): MultipartUpload {
    return {
      ...upload,
      putPart: async (partNumber, body, options) => {
        crowd += 1;
        try {
          crowdMax = Math.max(crowdMax, crowd);
          const full = crowd > capacity;
          await sleep(clock, 100);
          if (options?.signal?.aborted === true) throw new AbortedError("a part");
          if (!full) return await upload.putPart(partNumber, body);
          refused += 1;
          throw new ObjectStoreError("busy", { operation: "uploadPart", key: upload.key, status, retryable: true });
        } finally {
          crowd -= 1;
        }
      },
    };
  }

  /** Sends 20 parts, as a writer does: four at a time. */
  async function upload(name: string): Promise<void> {
    const started = await store.createMultipart(name as ObjectKey);
    const slots = new Semaphore(4);
    const numbers = Array.from({ length: 20 }, (_, i) => i + 1);
    await Promise.all(numbers.map((number) => slots.run(() => started.putPart(number, Buffer.of(number)))));
    expect(await started.listParts()).toHaveLength(numbers.length);
  }

  test.each([503, 429])("%i: two uploads come through, and the store is soon left in peace", async (answer) => {
    status = answer;
    await clock.run(Promise.all([upload("a"), upload("b")]));
    expect(crowdMax).toBe(PARTS_MAX);
    expect(limiter.throttled).toBe(refused);
    expect(limiter.limit).toBeLessThanOrEqual(capacity + 1);
    expect(limiter.inFlight).toBe(0);
    const withLimiter = refused;
    // Without it, as many parts as before go on knocking.
    store = settling(limited, { clock, random: seededRandom(1), deadlineMs: 600_000 });
    await clock.run(Promise.all([upload("c"), upload("d")]));
    expect(refused - withLimiter).toBeGreaterThan(3 * withLimiter);
  });

  test("the deadline of a part does not run while it waits for its turn", async () => {
    capacity = PARTS_MAX;
    for (let i = 0; i < 3; i++) limiter.attemptBegins()();
    store = settling(limited, { clock, random: seededRandom(1), deadlineMs: 150, partLimiter: limiter });
    await clock.run(Promise.all([upload("a"), upload("b")]));
    expect(refused).toBe(0);
    expect(clock.monotonic()).toBeGreaterThan(1_500);
  });

  test("but it runs while no part comes through: a store that went silent fails them in their time", async () => {
    for (let i = 0; i < 3; i++) limiter.attemptBegins()();
    const silent: ObjectStore = {
      ...memory,
      createMultipart: async (key, options) => ({
        ...(await memory.createMultipart(key, options)),
        putPart: (_number, _body, { signal = NEVER } = {}) =>
          new Promise((_, reject) => signal.addEventListener("abort", () => reject(new AbortedError("a part")))),
      }),
    };
    const retrying = { clock, random: seededRandom(1), deadlineMs: 60_000, requestTimeoutMs: 15_000 };
    const started = await settling(silent, { ...retrying, partLimiter: limiter }).createMultipart("a" as ObjectKey);
    const failedAtMs: number[] = [];
    const parts = Array.from({ length: PARTS_MAX }, async (_, i) => {
      await expect(started.putPart(i + 1, Buffer.of(i))).rejects.toMatchObject({ retryable: true, effect: "none" });
      failedAtMs.push(clock.monotonic());
    });
    await clock.run(Promise.all(parts));
    expect(limiter.limit).toBe(1);
    expect(Math.max(...failedAtMs)).toBeLessThanOrEqual(75_000);
    expect(limiter.inFlight).toBe(0);
  });

  test("when the store has room again, the parts take it", async () => {
    await clock.run(upload("a"));
    capacity = PARTS_MAX;
    for (const name of ["b", "c", "d", "e"]) await clock.run(upload(name));
    expect(limiter.limit).toBe(PARTS_MAX);
  });

  test("a writer that is abandoned while its parts wait for their turn gives all back", async () => {
    const pool = new PartBufferPool({ partSizeBytes: PART_BYTES_MIN, buffersMax: PARTS_MAX });
    for (let i = 0; i < 3; i++) limiter.attemptBegins()();
    const key = "a" as ObjectKey;
    const writer = new BufferedMultipartWriter({ store, key, pool, partsInFlight: 4 });
    await writer.write(filled(4 * PART_BYTES_MIN, 1));
    expect([limiter.limit, limiter.inFlight, pool.inUse]).toEqual([1, 1, 4]);
    await clock.run(writer.abandon());
    expect([limiter.inFlight, pool.inUse, crowd]).toEqual([0, 0, 0]);
  });
});
