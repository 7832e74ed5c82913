import { beforeEach, describe, expect, test } from "vitest";

import type { ObjectKey } from "../../src/domain.ts";
import { AbortedError, ObjectStoreError, type Effect, type TierlogError } from "../../src/errors.ts";
import { MemoryBucket, createMemoryStore } from "../../src/object-store/memory-store.ts";
import { metered, type MeteredStore } from "../../src/object-store/metered.ts";
import type { ObjectStore, PutOptions, PutOutcome, StoredObject } from "../../src/object-store/object-store.ts";
import { BACKOFF_BASE_MS, BACKOFF_CAP_MS } from "../../src/object-store/retry.ts";
import { settling } from "../../src/object-store/settling.ts";
import { seededRandom, type Random } from "../../src/runtime/random.ts";
import { VirtualClock } from "../support/virtual-clock.ts";

const KEY = "index/0000/00000000000000000007.idx" as ObjectKey;
const OURS = Buffer.from("head writeId-ours   payload");
const THEIRS = Buffer.from("head writeId-theirs payload");
const IF_ABSENT: PutOptions = { condition: { kind: "if-absent" }, identity: { start: 5, end: 20 } };
const DEADLINE_MS = 30_000;

/** What happens to one request. `commit` runs it on the real store. */
type Fault = (commit: () => Promise<unknown>, signal: AbortSignal | undefined) => Promise<unknown>;

const ok: Fault = (commit) => commit();
const fail =
  (status: number | undefined, effect: Effect, retryable = true): Fault =>
  () =>
    Promise.reject(storeError(status, effect, retryable));
/** The request took effect, its answer was lost. */
const answerLost: Fault = async (commit) => {
  await commit();
  throw storeError(undefined, "unknown", true);
};
const lostBefore = fail(undefined, "unknown");
const refused = fail(undefined, "none");
const condition412: Fault = async () => ({ kind: "condition-failed" }) satisfies PutOutcome;
/** A proxy sent our request twice: the first one was stored, the second one answered. */
const repeatedByProxy: Fault = async (commit) => {
  await commit();
  return commit();
};
const silent: Fault = (_, signal) =>
  new Promise((_resolve, reject) => {
    signal?.addEventListener("abort", () => reject(new AbortedError("put", { effect: "unknown" })), { once: true });
  });

let clock: VirtualClock;
let bucket: MemoryBucket;
let direct: ObjectStore;
let meter: MeteredStore;
let puts: Fault[];
let gets: Fault[];
/** Commits that a test lets happen later. */
let late: (() => Promise<unknown>)[];

beforeEach(() => {
  clock = new VirtualClock();
  bucket = new MemoryBucket();
  direct = createMemoryStore(bucket);
  puts = [];
  gets = [];
  late = [];
  const faulty: ObjectStore = {
    ...direct,
    get: (key, options) => play(gets, () => direct.get(key, options), options?.signal),
    head: (key, options) => play(gets, () => direct.head(key, options), options?.signal),
    put: (key, body, options) => play(puts, () => direct.put(key, body, options), options.signal),
  };
  meter = metered(faulty, clock);
});

/** The next fault of the script; after its end everything works. */
function play<T>(script: Fault[], commit: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  return (script.shift() ?? ok)(commit, signal) as Promise<T>;
}

function open(options: { random?: Random; requestTimeoutMs?: number } = {}): ObjectStore {
  return settling(meter.store, { clock, random: seededRandom(7), deadlineMs: DEADLINE_MS, ...options });
}

function create(body = OURS, options: PutOptions = IF_ABSENT): Promise<PutOutcome> {
  return clock.run(open().put(KEY, body, options));
}

async function stored(): Promise<string | undefined> {
  const object = await direct.get(KEY);
  return object && Buffer.from(object.body).toString();
}

function storeError(status: number | undefined, effect: Effect, retryable: boolean): ObjectStoreError {
  return new ObjectStoreError(
    `put ${KEY}: scripted ${status ?? "reset"}`,
    { operation: "put", key: KEY, status, retryable },
    { effect },
  );
}

async function errorOf(promise: Promise<unknown>): Promise<TierlogError & { attempts?: number }> {
  return promise.then(
    (value) => {
      throw new Error(`expected an error, got ${JSON.stringify(value)}`);
    },
    (error: TierlogError) => error,
  );
}

describe("put if-absent", () => {
  test("a clean 200 is one request", async () => {
    expect(await create()).toMatchObject({ kind: "written" });
    expect(meter.metrics()).toMatchObject({ put: { requests: 1, errors: 0 }, get: { requests: 0 } });
    expect(clock.pending).toBe(0);
  });

  test("F01 stored, answer lost: found by its identity, not sent again", async () => {
    puts = [answerLost];
    const outcome = await create();
    expect(outcome).toEqual({ kind: "written", etag: (await direct.head(KEY))?.etag });
    expect(meter.metrics()).toMatchObject({ put: { requests: 1 }, get: { requests: 1, bytes: 15 } });
  });

  test("F02 lost before it was stored: the same bytes again", async () => {
    puts = [lostBefore];
    expect(await create()).toMatchObject({ kind: "written" });
    expect(await stored()).toBe(OURS.toString());
    expect(meter.metrics()).toMatchObject({ put: { requests: 2 }, get: { requests: 1 } });
  });

  test("F03 the first attempt lands after the read-back said absent: the 412 of the second is our own", async () => {
    puts = [
      async (commit) => {
        late.push(commit);
        throw storeError(undefined, "unknown", true);
      },
      async (commit) => {
        await late[0]?.();
        return commit();
      },
    ];
    expect(await create()).toMatchObject({ kind: "written" });
    expect(await stored()).toBe(OURS.toString());
    expect(meter.metrics().put.requests).toBe(2);
  });

  test("F04 another writer was first: condition-failed, after its object was looked at", async () => {
    await direct.put(KEY, THEIRS, IF_ABSENT);
    expect(await create()).toEqual({ kind: "condition-failed" });
    expect(await stored()).toBe(THEIRS.toString());
    // Two: as large as ours, so that one read alone might have been damaged on its way.
    expect(meter.metrics()).toMatchObject({ put: { requests: 1 }, get: { requests: 2 } });
  });

  test("F16 ours, but the read-back was damaged on its way: read once more, and found", async () => {
    puts = [repeatedByProxy];
    gets = [
      async (commit) => {
        const object = (await commit()) as StoredObject;
        return { ...object, body: Buffer.from(object.body).fill(0, 3, 4) };
      },
    ];
    expect(await create()).toMatchObject({ kind: "written" });
    expect(meter.metrics()).toMatchObject({ put: { requests: 1 }, get: { requests: 2 } });
  });

  test("F04 after a lost answer as well", async () => {
    puts = [
      async () => {
        await direct.put(KEY, THEIRS, IF_ABSENT);
        throw storeError(500, "unknown", true);
      },
    ];
    expect(await create()).toEqual({ kind: "condition-failed" });
  });

  test("F05 409 three times, then 200: written once", async () => {
    puts = [fail(409, "unknown"), fail(409, "unknown"), fail(409, "unknown")];
    expect(await create()).toMatchObject({ kind: "written" });
    expect(meter.metrics().put.requests).toBe(4);
  });

  test("the very first 412 may be our own, repeated by a proxy", async () => {
    puts = [repeatedByProxy];
    expect(await create()).toMatchObject({ kind: "written" });
    expect(meter.metrics().put.requests).toBe(1);
  });

  test("a 412 over nothing is sent again, not believed", async () => {
    puts = [condition412, condition412];
    expect(await create()).toMatchObject({ kind: "written" });
    expect(meter.metrics().put.requests).toBe(3);
  });

  test("the same identity in an object of another size is not ours", async () => {
    await direct.put(KEY, Buffer.concat([OURS, Buffer.from("more")]), IF_ABSENT);
    expect(await create()).toEqual({ kind: "condition-failed" });
  });

  test("without an identity the whole body is compared", async () => {
    const whole: PutOptions = { condition: { kind: "if-absent" } };
    await direct.put(KEY, Buffer.from("head writeId-ours   PAYLOAD"), whole);
    expect(await create(OURS, whole)).toEqual({ kind: "condition-failed" });
    puts = [answerLost];
    const other = `${KEY}2` as ObjectKey;
    expect(await clock.run(open().put(other, OURS, whole))).toMatchObject({ kind: "written" });
  });

  test("an empty body is found by its size", async () => {
    puts = [answerLost];
    expect(await create(Buffer.alloc(0), { condition: { kind: "if-absent" } })).toMatchObject({ kind: "written" });
    expect(meter.metrics()).toMatchObject({ head: { requests: 1 }, get: { requests: 0 } });
  });

  test("a read-back that fails is repeated before anything is sent again", async () => {
    puts = [answerLost];
    gets = [fail(503, "none"), fail(500, "none")];
    expect(await create()).toMatchObject({ kind: "written" });
    expect(meter.metrics()).toMatchObject({ put: { requests: 1 }, get: { requests: 3, errors: 2 } });
  });

  test("connections refused need no read-back", async () => {
    puts = [refused, refused];
    expect(await create()).toMatchObject({ kind: "written" });
    expect(meter.metrics()).toMatchObject({ put: { requests: 3 }, get: { requests: 0 } });
  });

  test("a silent store is cut at the request timeout, then read back", async () => {
    puts = [silent];
    const outcome = await clock.run(open({ requestTimeoutMs: 2_000 }).put(KEY, OURS, IF_ABSENT));
    expect(outcome).toMatchObject({ kind: "written" });
    expect(clock.now()).toBeGreaterThanOrEqual(2_000);
    expect(clock.now()).toBeLessThan(2_000 + BACKOFF_BASE_MS);
    expect(clock.pending).toBe(0);
  });

  test("an identity outside the body is refused", async () => {
    for (const identity of [
      { start: 0, end: 0 },
      { start: 5, end: 28 },
      { start: -1, end: 4 },
    ]) {
      const error = await errorOf(create(OURS, { condition: { kind: "if-absent" }, identity }));
      expect(error).toMatchObject({ code: "TIERLOG_INVALID_ARGUMENT", effect: "none" });
    }
    expect(meter.metrics().put.requests).toBe(0);
  });
});

describe("past the deadline", () => {
  const forever = (fault: Fault): Fault[] => Array.from({ length: 10_000 }, () => fault);

  test("effect unknown when one attempt may have landed", async () => {
    puts = [lostBefore, ...forever(refused)];
    gets = forever(fail(503, "none"));
    const error = await errorOf(create());
    expect(error).toMatchObject({ code: "TIERLOG_OBJECT_STORE", effect: "unknown", kind: "unavailable" });
    expect(error.attempts).toBeGreaterThan(5);
    expect(clock.now()).toBeLessThanOrEqual(DEADLINE_MS);
    expect(clock.pending).toBe(0);
  });

  test("effect none only when every attempt was surely not sent", async () => {
    puts = forever(refused);
    const error = await errorOf(create());
    expect(error).toMatchObject({ code: "TIERLOG_OBJECT_STORE", effect: "none" });
    expect(error.attempts).toBe(meter.metrics().put.requests);
  });

  test("a 412 that could not be read back is neither won nor lost", async () => {
    puts = [condition412];
    gets = forever(fail(503, "none"));
    expect(await errorOf(create())).toMatchObject({ code: "TIERLOG_OBJECT_STORE", effect: "unknown" });
  });

  test("one silent attempt without a request timeout ends at the deadline", async () => {
    puts = [silent];
    expect(await errorOf(create())).toMatchObject({ effect: "unknown", attempts: 1 });
    expect(clock.now()).toBe(DEADLINE_MS);
  });
});

describe("errors that no retry helps", () => {
  test("come out at once, with effect none", async () => {
    puts = [fail(403, "none", false)];
    const error = await errorOf(create());
    expect(error).toMatchObject({ status: 403, effect: "none", attempts: 1, retryable: false });
    expect(clock.now()).toBe(0);
  });

  test("with effect unknown when an earlier attempt may have landed", async () => {
    puts = [lostBefore, fail(403, "none", false)];
    expect(await errorOf(create())).toMatchObject({ status: 403, effect: "unknown", attempts: 3 });
  });

  test("a forbidden read-back is never taken for absent", async () => {
    puts = [lostBefore];
    gets = [fail(403, "none", false)];
    expect(await errorOf(create())).toMatchObject({ status: 403, effect: "unknown" });
    expect(meter.metrics().put.requests).toBe(1);
  });

  test("a store closed in between does not hide that something was sent", async () => {
    puts = [
      async () => {
        await direct.close();
        throw storeError(500, "unknown", true);
      },
    ];
    expect(await errorOf(create())).toMatchObject({
      code: "TIERLOG_OBJECT_STORE",
      effect: "unknown",
      retryable: false,
    });
  });
});

describe("the caller's signal", () => {
  test("before anything was sent: effect none", async () => {
    const error = await errorOf(create(OURS, { ...IF_ABSENT, signal: AbortSignal.abort(new Error("stop")) }));
    expect(error).toMatchObject({ code: "TIERLOG_ABORTED", effect: "none" });
    expect(meter.metrics().put.requests).toBe(0);
  });

  test("in the middle of an attempt: effect unknown, nothing left behind", async () => {
    const controller = new AbortController();
    puts = [
      (commit, signal) => {
        queueMicrotask(() => controller.abort(new Error("stop")));
        return silent(commit, signal);
      },
    ];
    const error = await errorOf(create(OURS, { ...IF_ABSENT, signal: controller.signal }));
    expect(error).toMatchObject({ code: "TIERLOG_ABORTED", effect: "unknown", cause: { message: "stop" } });
    expect(clock.pending).toBe(0);
  });

  test("during a wait: at once, and with the effect of what was sent before", async () => {
    for (const [fault, effect] of [
      [lostBefore, "unknown"],
      [refused, "none"],
    ] as const) {
      const controller = new AbortController();
      puts = [fault];
      const random: Random = {
        bytes: () => new Uint8Array(0),
        // Called when the wait is about to start.
        float: () => {
          setImmediate(() => controller.abort(new Error("stop")));
          return 0.5;
        },
      };
      const before = meter.metrics().put.requests;
      const call = open({ random }).put(KEY, OURS, { ...IF_ABSENT, signal: controller.signal });
      expect(await errorOf(call)).toMatchObject({ code: "TIERLOG_ABORTED", effect });
      expect(meter.metrics().put.requests).toBe(before + 1);
      expect(clock.pending).toBe(0);
    }
  });

  test("an answer that came in spite of the signal counts", async () => {
    const controller = new AbortController();
    puts = [
      async (commit) => {
        controller.abort(new Error("stop"));
        return commit();
      },
    ];
    // The memory store sees the signal before it writes; this one does not look.
    const deaf: ObjectStore = {
      ...direct,
      put: (key, body, options) => play(puts, () => direct.put(key, body, { condition: options.condition }), undefined),
    };
    const store = settling(deaf, { clock, random: seededRandom(1), deadlineMs: DEADLINE_MS });
    expect(await store.put(KEY, OURS, { ...IF_ABSENT, signal: controller.signal })).toMatchObject({ kind: "written" });
  });
});

describe("put if-match", () => {
  const replace = async (): Promise<{ call: Promise<PutOutcome> }> => {
    const first = await direct.put(KEY, Buffer.from("old"), { condition: { kind: "none" } });
    if (first.kind !== "written") throw new Error("unexpected");
    return { call: create(OURS, { condition: { kind: "if-match", etag: first.etag } }) };
  };

  test("a lost answer is settled by the whole body", async () => {
    puts = [answerLost];
    expect(await (await replace()).call).toMatchObject({ kind: "written" });
    expect(meter.metrics().put.requests).toBe(1);
  });

  test("not stored, answer lost: unknown, and not sent again", async () => {
    puts = [lostBefore];
    expect(await errorOf((await replace()).call)).toMatchObject({ effect: "unknown" });
    expect(meter.metrics().put.requests).toBe(1);
  });

  test("a 412 over other bytes is lost, a 412 over our own is won", async () => {
    puts = [condition412];
    expect(await (await replace()).call).toEqual({ kind: "condition-failed" });
    puts = [repeatedByProxy];
    expect(await (await replace()).call).toMatchObject({ kind: "written" });
  });

  test("connections refused are tried again", async () => {
    puts = [refused];
    expect(await (await replace()).call).toMatchObject({ kind: "written" });
    expect(meter.metrics().put.requests).toBe(2);
  });
});

describe("calls that may be repeated", () => {
  test("get, head, delete and an unconditional put go on after 5xx", async () => {
    const store = open();
    puts = [fail(503, "unknown"), answerLost];
    expect(await clock.run(store.put(KEY, OURS, { condition: { kind: "none" } }))).toMatchObject({ kind: "written" });
    gets = [fail(500, "none"), fail(429, "none")];
    expect((await clock.run(store.get(KEY)))?.sizeBytes).toBe(OURS.length);
    gets = [fail(500, "none")];
    expect((await clock.run(store.head(KEY)))?.sizeBytes).toBe(OURS.length);
    await clock.run(store.delete([KEY]));
    expect(await clock.run(store.get(KEY))).toBeUndefined();
  });

  test("an error that stays comes out at the deadline, with the attempts", async () => {
    gets = Array.from({ length: 10_000 }, () => fail(503, "none"));
    const error = await errorOf(clock.run(open().get(KEY)));
    expect(error).toMatchObject({ status: 503, effect: "none", kind: "unavailable" });
    expect(error.attempts).toBe(meter.metrics().get.requests);
    expect(error.message).toContain(`${error.attempts} attempts`);
  });

  test("a listing goes on behind its last key, each key once", async () => {
    const names = Array.from({ length: 2_500 }, (_, i) => `n/${String(i).padStart(5, "0")}` as ObjectKey);
    for (const name of names) bucket.write(name, Buffer.from("x"));
    const failAt = new Set([700, 1_001, 2_499]);
    const breaking: ObjectStore = {
      ...direct,
      async *list(prefix, options) {
        for await (const info of direct.list(prefix, options)) {
          const index = names.indexOf(info.key);
          if (failAt.delete(index)) throw storeError(503, "none", true);
          yield info;
        }
      },
    };
    const store = settling(breaking, { clock, random: seededRandom(3), deadlineMs: DEADLINE_MS });
    const found: string[] = [];
    const all = (async () => {
      for await (const info of store.list("n/", { startAfter: names[9] as ObjectKey })) found.push(info.key);
    })();
    await clock.run(all);
    expect(found).toEqual(names.slice(10));
    expect(clock.pending).toBe(0);
  });

  test("a listing left early leaves nothing behind", async () => {
    for (const name of ["a", "b", "c"]) bucket.write(name as ObjectKey, Buffer.from("x"));
    for await (const info of open().list("")) {
      expect(info.key).toBe("a");
      break;
    }
    expect(clock.pending).toBe(0);
  });
});

describe("backoff", () => {
  test("is uniform below a bound that doubles up to the cap", async () => {
    const drawn = [0.999, 0.5, 0, 0.999, 0.999, 0.999, 0.999, 0.999, 0.999];
    const waits: number[] = [];
    gets = drawn.map(() => async () => {
      waits.push(clock.monotonic());
      throw storeError(503, "none", true);
    });
    let draw = 0;
    const random: Random = { bytes: () => new Uint8Array(0), float: () => drawn[draw++] ?? 0 };
    await clock.run(open({ random }).get(KEY));
    const gaps = waits.slice(1).map((at, i) => at - (waits[i] ?? 0));
    const bounds = drawn.map((_, i) => Math.min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** i));
    for (const [i, gap] of gaps.entries()) expect(gap).toBeCloseTo((drawn[i] ?? 0) * (bounds[i] ?? 0), 6);
    expect(Math.max(...gaps)).toBeLessThan(BACKOFF_CAP_MS);
  });
});

test("settings that cannot work are refused", () => {
  for (const deadlineMs of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
    expect(() => settling(direct, { clock, random: seededRandom(1), deadlineMs })).toThrow("deadlineMs");
  }
});
