import { afterEach, beforeEach, describe, expect, test } from "vitest";

import type { ObjectKey } from "../../src/domain.ts";
import { MemoryBucket, createMemoryStore } from "../../src/object-store/memory-store.ts";
import { metered, type MeteredStore } from "../../src/object-store/metered.ts";
import { PART_BYTES_MIN } from "../../src/object-store/multipart.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";
import { readingBack } from "../../src/object-store/reading-back.ts";
import { createS3Store } from "../../src/object-store/s3-store.ts";
import { settling } from "../../src/object-store/settling.ts";
import { systemClock } from "../../src/runtime/clock.ts";
import { seededRandom } from "../../src/runtime/random.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";
import { filled } from "../support/filled.ts";
import { PlayedServer } from "../support/played-server.ts";

const KEY = "index/0001/00000000000000000007.idx" as ObjectKey;
const IF_ABSENT = { condition: { kind: "if-absent" } } as const;
const PARTS = [filled(PART_BYTES_MIN, 1), filled(PART_BYTES_MIN, 2), filled(100, 3)];

function damage(body: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(body);
  copy[copy.length - 1] = (copy[copy.length - 1] ?? 0) ^ 1;
  return copy;
}

describe("over a store that takes what it is sent", () => {
  let damaging: boolean;
  let meter: MeteredStore;
  let needed: boolean;
  let store: ObjectStore;

  beforeEach(() => {
    damaging = false;
    needed = true;
    const memory = createMemoryStore(new MemoryBucket());
    const faulty: ObjectStore = {
      ...memory,
      put: (key, body, options) => memory.put(key, damaging ? damage(body) : body, options),
      createMultipart: async (key, options) => {
        const upload = await memory.createMultipart(key, options);
        const putPart: typeof upload.putPart = (partNumber, body) =>
          upload.putPart(partNumber, damaging && partNumber === 2 ? damage(body) : body);
        return { ...upload, putPart };
      },
    };
    meter = metered(faulty, systemClock);
    store = readingBack(meter.store, () => needed);
  });

  async function upload(): Promise<unknown> {
    const started = await store.createMultipart(KEY);
    const parts = [];
    for (const [index, body] of PARTS.entries()) {
      const buffer = Uint8Array.from(body);
      parts.push(await started.putPart(index + 1, buffer));
      // As a part buffer is: used again for the next part.
      buffer.fill(0);
    }
    return started.complete(parts);
  }

  test("a put that arrived as it was sent: written, with one GET", async () => {
    expect(await store.put(KEY, filled(100, 1), IF_ABSENT)).toMatchObject({ kind: "written" });
    expect(await store.put("empty" as ObjectKey, new Uint8Array(0), IF_ABSENT)).toMatchObject({ kind: "written" });
    expect(meter.metrics().get.requests).toBe(2);
  });

  test("a put that was changed on its way is not written, and not tried again", async () => {
    damaging = true;
    await expect(store.put(KEY, filled(100, 1), IF_ABSENT)).rejects.toMatchObject({
      code: "TIERLOG_OBJECT_STORE",
      retryable: false,
      effect: "unknown",
      message: expect.stringContaining("payload_signing") as string,
    });
    expect(meter.metrics().put.requests).toBe(1);
  });

  test("a condition that failed is not read", async () => {
    await store.put(KEY, filled(100, 1), IF_ABSENT);
    expect(await store.put(KEY, filled(100, 2), IF_ABSENT)).toEqual({ kind: "condition-failed" });
    expect(meter.metrics().get.requests).toBe(1);
  });

  test("an upload: one GET per part, and none is larger than a part", async () => {
    expect(await upload()).toEqual({ kind: "completed" });
    expect(meter.metrics().get).toMatchObject({ requests: 3, bytes: 2 * PART_BYTES_MIN + 100 });
  });

  test("a part that was changed on its way fails the completion", async () => {
    damaging = true;
    await expect(upload()).rejects.toMatchObject({ retryable: false, effect: "unknown" });
    await expect(upload()).rejects.toThrow("part 2");
  });

  test("a read that fails leaves the put in doubt", async () => {
    const unreadable = readingBack({ ...meter.store, get: () => Promise.reject(new Error("no")) }, () => true);
    await expect(unreadable.put(KEY, filled(100, 1), IF_ABSENT)).rejects.toMatchObject({ effect: "unknown" });
    const absent = readingBack({ ...meter.store, get: () => Promise.resolve(undefined) }, () => true);
    const other = "other" as ObjectKey;
    await expect(absent.put(other, filled(100, 1), IF_ABSENT)).rejects.toMatchObject({ effect: "unknown" });
  });

  test("not where it is not needed", async () => {
    needed = false;
    damaging = true;
    expect(await store.put(KEY, filled(100, 1), IF_ABSENT)).toMatchObject({ kind: "written" });
    expect(await upload()).toEqual({ kind: "completed" });
    expect(meter.metrics().get.requests).toBe(0);
  });
});

describe("over a server that changes bodies and checks nothing", () => {
  let server: PlayedServer;
  let store: ObjectStore;
  let stored: Map<string, Uint8Array>;

  beforeEach(async () => {
    stored = new Map();
    server = new PlayedServer();
    server.answer = (request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        const url = new URL(request.url ?? "", "http://x").pathname;
        if (request.method === "PUT") {
          const taken = stored.has(url);
          if (!taken) stored.set(url, damage(Buffer.concat(chunks)));
          // The first answer gets lost, so that the put is settled by the identity bytes alone, which are whole.
          if (!taken) request.socket.resetAndDestroy();
          else response.writeHead(412).end();
          return;
        }
        const body = stored.get(url) ?? new Uint8Array(0);
        const [, start = "0", end = String(body.length - 1)] = /=(\d+)-(\d+)/.exec(request.headers.range ?? "") ?? [];
        const part = body.subarray(Number(start), Number(end) + 1);
        const range = `bytes ${start}-${end}/${body.length}`;
        response.writeHead(request.headers.range === undefined ? 200 : 206, {
          etag: '"e"',
          "content-length": part.length,
          ...(request.headers.range === undefined ? {} : { "content-range": range }),
        });
        response.end(part);
      });
    };
    await server.start();
    const raw = createS3Store(
      {
        bucket: "bucket",
        region: "us-east-1",
        endpoint: server.endpoint,
        prefix: "",
        credentials: { accessKeyId: "key", secretAccessKey: "secret" },
        forcePathStyle: true,
        requestTimeoutMs: 20_000,
        maxSockets: 4,
        ifMatchEtag: "quoted",
        payloadSigning: "unsigned",
      },
      systemRuntime,
    );
    store = settling(raw, { clock: systemClock, random: seededRandom(1), deadlineMs: 20_000 });
  });

  afterEach(async () => {
    await store.close();
    await server.stop();
  });

  const put = { ...IF_ABSENT, identity: { start: 0, end: 16 } };

  test("the settling wrapper alone knows the object for ours; read back, it is not written", async () => {
    expect(await store.put(KEY, filled(100, 1), put)).toMatchObject({ kind: "written" });
    const other = "index/0001/00000000000000000008.idx" as ObjectKey;
    const outcome = readingBack(store, () => true).put(other, filled(100, 1), put);
    await expect(outcome).rejects.toMatchObject({ retryable: false, effect: "unknown" });
  });
});
