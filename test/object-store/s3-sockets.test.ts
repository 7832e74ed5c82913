import type { IncomingMessage, ServerResponse } from "node:http";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import type { ObjectKey, Seq, ShardId } from "../../src/domain.ts";
import {
  FORMAT_KEY,
  catalogKey,
  checkpointKey,
  checkpointPrefix,
  dataKey,
  indexKey,
} from "../../src/object-store/object-names.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";
import { fixedCredentials } from "../../src/object-store/s3-credentials.ts";
import { createS3Store, type S3StoreSettings } from "../../src/object-store/s3-store.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";
import { PlayedServer, sends } from "../support/played-server.ts";

const IF_ABSENT = { condition: { kind: "if-absent" } } as const;
const SHARD = 3 as ShardId;
const BODY = Buffer.from("0123456789");
const LARGE = Buffer.alloc(8 * 1024 * 1024, 1);
const BULK_SOCKETS = 2;
/** Long enough that nothing but a free socket can let a request through, short enough to wait for. */
const TIMEOUT_MS = 400;
const FIXED = fixedCredentials({ accessKeyId: "key", secretAccessKey: "secret" });

let server: PlayedServer;
let stores: ObjectStore[];
let socketsBefore: number;

/** Sockets of this process, both ends. */
const sockets = (): number => process.getActiveResourcesInfo().filter((name) => name === "TCPSocketWrap").length;

beforeEach(async () => {
  socketsBefore = sockets();
  stores = [];
  server = new PlayedServer();
  await server.start();
});

afterEach(async () => {
  for (const store of stores) await store.close();
  await server.stop();
});

function open(changes: Partial<S3StoreSettings> = {}): ObjectStore {
  const store = createS3Store(
    {
      bucket: "bucket",
      region: "us-east-1",
      endpoint: server.endpoint,
      prefix: "pre/fix",
      credentials: { accessKeyId: "key", secretAccessKey: "secret" },
      forcePathStyle: true,
      requestTimeoutMs: TIMEOUT_MS,
      maxSockets: BULK_SOCKETS,
      ifMatchEtag: "quoted",
      ...changes,
    },
    systemRuntime,
  );
  stores.push(store);
  return store;
}

const data = (n: number): ObjectKey => dataKey(SHARD, 1 as never, n, "ab01234567890123");

describe("data objects and all else have sockets of their own", () => {
  const isData = (request: IncomingMessage): boolean => request.url?.includes("/pre/fix/data/") === true;
  const patient = { requestTimeoutMs: 20_000 };

  test("while every bulk socket hangs, index file, checkpoint, catalog and FORMAT go through", async () => {
    const store = open(patient);
    const answer = sends(200, "", { etag: '"e"' });
    server.answer = (request: IncomingMessage, response: ServerResponse) => {
      if (!isData(request)) answer(request, response);
    };
    const controller = new AbortController();
    const hung = [1, 2, 3, 4].map((n) => store.put(data(n), BODY, { ...IF_ABSENT, signal: controller.signal }));
    const ended = Promise.allSettled(hung);
    while (server.requests.length < BULK_SOCKETS) await new Promise((resolve) => setImmediate(resolve));
    for (const key of [indexKey(SHARD, 7 as Seq), checkpointKey(SHARD, 7 as Seq), catalogKey(1), FORMAT_KEY]) {
      expect(await store.put(key, BODY, IF_ABSENT)).toEqual({ kind: "written", etag: "e" });
    }
    // The other two bulk requests still wait: the reserve is not theirs.
    expect(server.requests.filter(isData)).toHaveLength(BULK_SOCKETS);
    controller.abort();
    expect((await ended).map(({ status }) => status)).toEqual(Array(4).fill("rejected"));
  });

  test("a request that waits for a socket is not one that cannot connect", async () => {
    const store = open({ ...patient, connectTimeoutMs: 100 });
    const answer = sends(200, "", { etag: '"e"' });
    server.answer = (request, response) => setTimeout(() => answer(request, response), 2 * TIMEOUT_MS);
    const puts = [1, 2, 3].map((n) => store.put(data(n), BODY, IF_ABSENT));
    expect((await Promise.all(puts)).map(({ kind }) => kind)).toEqual(Array(3).fill("written"));
    expect(server.requests).toHaveLength(3);
  });

  test("parts and reads of data objects are bulk; a hung chain does not hold them up", async () => {
    const store = open(patient);
    const started = `<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>`;
    server.answer = (request, response) => {
      if (isData(request)) sends(200, started, { etag: '"e"' })(request, response);
    };
    const controller = new AbortController();
    const { signal } = controller;
    const hung = Promise.allSettled([
      store.get(indexKey(SHARD, 1 as Seq), { signal }),
      store.list(checkpointPrefix(SHARD), { signal })[Symbol.asyncIterator]().next(),
      store.delete([indexKey(SHARD, 1 as Seq)], { signal }),
    ]);
    const upload = await store.createMultipart(data(1));
    expect(await upload.putPart(1, BODY)).toMatchObject({ etag: "e" });
    expect(await store.get(data(1), { range: { start: 0, end: 4 } })).toMatchObject({ etag: "e" });
    await store.delete([data(1)]);
    const bulkPorts = new Set(server.requests.filter(isData).map(({ socket }) => socket.remotePort));
    const chainPorts = new Set(server.requests.filter((one) => !isData(one)).map(({ socket }) => socket.remotePort));
    expect(bulkPorts.size).toBe(1);
    expect(chainPorts.size).toBe(3);
    expect([...chainPorts].filter((port) => bulkPorts.has(port))).toEqual([]);
    controller.abort();
    await hung;
  });
});

describe("I6 whatever the server does, a call ends and its socket is closed", () => {
  /** Sockets are gone on the server; and, once it has stopped, none of either end is left in this process. */
  async function expectNoSocket(): Promise<void> {
    expect(await server.openSockets()).toBe(0);
    for (const store of stores) await store.close();
    await server.stop();
    for (let i = 0; i < 50 && sockets() > socketsBefore; i++) await new Promise((resolve) => setTimeout(resolve, 10));
    expect(sockets()).toBeLessThanOrEqual(socketsBefore);
    await server.start();
  }

  test("F12 it accepts and never answers", async () => {
    await expect(open().put(indexKey(SHARD, 1 as Seq), BODY, IF_ABSENT)).rejects.toMatchObject({
      retryable: true,
      effect: "unknown",
    });
    expect(server.requests).toHaveLength(1);
    await expectNoSocket();
  });

  test("it accepts and never reads a body of 8 MiB", async () => {
    // Node's server reads the head, then no more than its buffer, for nobody takes the body.
    const outcome = open().put(data(1), LARGE, IF_ABSENT);
    await expect(outcome).rejects.toMatchObject({ retryable: true, effect: "unknown" });
    // Only by reading on does it learn that the client is gone, and how little had come.
    for (const request of server.requests) request.resume();
    expect(await server.openSockets()).toBe(0);
    expect(server.requests[0]?.socket.bytesRead).toBeLessThan(LARGE.length);
    await expectNoSocket();
  });

  test("F13 one byte of the body now and then: the deadline is of the whole call, not of silence", async () => {
    let drips = 0;
    server.answer = (_, response) => {
      response.writeHead(200, { "content-length": 1_000_000, etag: '"e"' });
      const drip = setInterval(() => {
        drips += 1;
        response.write("x");
      }, TIMEOUT_MS / 10);
      response.on("close", () => clearInterval(drip));
    };
    await expect(open().get(data(1))).rejects.toMatchObject({ retryable: true, effect: "none" });
    expect(drips).toBeGreaterThan(1);
    await expectNoSocket();
  });

  test("all sockets hang: requests that wait for one end too, and were not sent", async () => {
    const store = open();
    const outcomes = await Promise.allSettled([1, 2, 3, 4, 5].map((n) => store.put(data(n), BODY, IF_ABSENT)));
    expect(outcomes.map(({ status }) => status)).toEqual(Array(5).fill("rejected"));
    expect(server.requests).toHaveLength(BULK_SOCKETS);
    await expectNoSocket();
  });

  test("credentials that never come", async () => {
    const store = open({ credentials: { ...FIXED, get: () => new Promise(() => undefined) } });
    await expect(store.get(data(1))).rejects.toMatchObject({ code: "TIERLOG_OBJECT_STORE", retryable: true });
    expect(server.requests).toHaveLength(0);
    await expectNoSocket();
  });
});
