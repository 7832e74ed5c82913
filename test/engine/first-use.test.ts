import { execFile } from "node:child_process";
import { promisify } from "node:util";

import { afterEach, describe, expect, test } from "vitest";

import type { Config } from "../../src/config/config.ts";
import { Engine, type OpenOptions } from "../../src/engine/engine.ts";
import { openStore } from "../../src/engine/open-store.ts";
import { MemoryBucket, createMemoryStore } from "../../src/object-store/memory-store.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";
import type { Logger } from "../../src/runtime/logger.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";
import type { S3BackendOptions } from "../../src/testing/s3/backend.ts";
import * as bad from "../support/bad-stores.ts";
import { EndpointPlace } from "../support/endpoint-place.ts";
import { readAll, testConfig, values } from "../support/engine.ts";

const MIB = 2 ** 20;
const RECORD = /^probe\/\d{8}T\d{9}Z-[0-9a-f]{16}\.json$/;

const ended: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of ended.splice(0).toReversed()) await end();
});

async function place(options: S3BackendOptions = {}): Promise<EndpointPlace> {
  const started = await EndpointPlace.start(options);
  ended.push(() => started.close());
  return started;
}

async function open(config: Config, options: OpenOptions = {}): Promise<Engine> {
  const engine = await Engine.open(config, options);
  ended.push(() => engine.close());
  return engine;
}

async function appendOne(engine: Engine): Promise<string[]> {
  await engine.createTopic("t", { partitions: 1 });
  const partition = (await engine.topic("t")).partition(0);
  await partition.append(values("a"));
  return readAll(partition);
}

class Log implements Logger {
  readonly warnings: string[] = [];
  info(): void {}
  warn(message: string): void {
    this.warnings.push(message);
  }
}

describe("the first engine that opens a bucket for writing", () => {
  test("probes it, stores the result, removes the rest, and counts what that cost on its own", async () => {
    const s3 = await place();
    const engine = await open(s3.config());
    const { probeRequests, store } = engine.metrics();
    expect(probeRequests).toBeGreaterThan(60);
    expect(probeRequests).toBeLessThan(100);
    // Looking for a result, storing it, FORMAT, the catalog.
    expect([store.put.requests, store.list.requests, store.delete.requests]).toEqual([2, 2, 0]);
    expect(await s3.keys()).toEqual(["FORMAT", expect.stringMatching(RECORD)]);
    expect(await appendOne(engine)).toEqual(["a"]);
  });

  test("the next one believes it", async () => {
    const s3 = await place();
    await (await open(s3.config())).close();
    const before = await s3.keys();
    const engine = await open(s3.config());
    expect(engine.metrics().probeRequests).toBe(0);
    expect(engine.metrics().store.put.requests).toBe(1);
    expect(await s3.keys()).toEqual(before);
  });

  test("leaves nothing behind in its process that every later promise would pay for", async () => {
    const s3 = await place();
    // A promise has an id only while a hook of Node's looks at all of them.
    const program = `
      import { executionAsyncId } from "node:async_hooks";
      import { Engine, loadConfig } from "tierlog";
      const hooked = () => Promise.resolve().then(() => executionAsyncId() !== 0);
      const { config } = await loadConfig({ env: process.env, cwd: process.cwd() });
      const engine = await Engine.open(config);
      console.log(JSON.stringify([engine.metrics().probeRequests > 60, await hooked()]));
      await engine.close();
    `;
    const env = { PATH: process.env["PATH"], ...s3.env() };
    const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", program], { env });
    expect(JSON.parse(stdout)).toEqual([true, false]);
  });

  test("another prefix of the bucket is probed for itself", async () => {
    const s3 = await place();
    await open(s3.config());
    const engine = await open(s3.config({ prefix: "other" }));
    expect(engine.metrics().probeRequests).toBeGreaterThan(60);
  });

  test("a result about another server does not count: the objects were copied", async () => {
    const [a, b] = [await place(), await place({ character: "races-conditions" })];
    await open(a.config());
    const [, record = ""] = await a.keys();
    expect(record).toMatch(RECORD);
    const copy = async (of: EndpointPlace): Promise<ObjectStore> => {
      const store = await openStore(of.config(), systemRuntime, true);
      ended.push(() => store.close());
      return store;
    };
    const found = await (await copy(a)).get(record as never);
    await (await copy(b)).put(record as never, found?.body ?? new Uint8Array(0), { condition: { kind: "none" } });
    await expect(Engine.open(b.config())).rejects.toMatchObject({ code: "TIERLOG_UNSUPPORTED_PROVIDER" });
  });

  test('a result about another way to say "only if absent" does not count: it may be ignored', async () => {
    const s3 = await place({ character: "wants-forbid-overwrite" });
    await open(s3.config({ createIfAbsent: "x-oss-forbid-overwrite" }));
    await expect(Engine.open(s3.config())).rejects.toMatchObject({ code: "TIERLOG_UNSUPPORTED_PROVIDER" });
  });

  test("the header that was tried is the one that the message names", async () => {
    const s3 = await place();
    const failed = [
      "it ignores x-oss-forbid-overwrite on PUT: every one of several racing writers was told that it won",
    ];
    await expect(Engine.open(s3.config({ createIfAbsent: "x-oss-forbid-overwrite" }))).rejects.toMatchObject({
      failed,
    });
    const refusing = await place({ character: "refuses-conditions" });
    await expect(Engine.open(refusing.config())).rejects.toMatchObject({
      failed: ["it refuses PUT with If-None-Match"],
    });
  });

  describe("a bucket that wants a checksum with every object", () => {
    test('is used with payload_signing = "unsigned": probed, written in parts, read', async () => {
      const s3 = await place({ character: "wants-checksums" });
      const engine = await open(s3.config({ payloadSigning: "unsigned", multipartPartSizeBytes: 5 * MIB }));
      expect(engine.metrics().probeRequests).toBeGreaterThan(60);
      await engine.createTopic("t", { partitions: 1 });
      const partition = (await engine.topic("t")).partition(0);
      await Promise.all(Array.from({ length: 7 }, () => partition.append(values("x".repeat(MIB - 1024)))));
      expect(engine.metrics().store.completeMultipart.requests).toBeGreaterThan(0);
      expect(await readAll(partition)).toHaveLength(7);
    });

    test("says so otherwise, before anything is stored", async () => {
      const s3 = await place({ character: "wants-checksums" });
      await expect(Engine.open(s3.config())).rejects.toMatchObject({
        code: "TIERLOG_OBJECT_STORE",
        status: 400,
        retryable: false,
        message: expect.stringContaining('set system.storage.object.payload_signing to "unsigned"') as string,
      });
      expect(await s3.keys()).toEqual([]);
    });
  });

  test.each([
    ["F23 conditional-ignored-provider", "ignores-conditions", "ignores If-None-Match"],
    ["F24 conditional-racy-provider", "races-conditions", "not atomic"],
    ["conditions are refused", "refuses-conditions", "refuses PUT with If-None-Match"],
    ["reads lag behind", "stale-reads", "right after a PUT"],
    ["listings have no order", "unordered-listing", "order of their bytes"],
  ] as const)("%s: refused before anything but the result is written", async (_, character, said) => {
    const s3 = await place({ character, staleForMs: 150 });
    const error: unknown = await Engine.open(s3.config()).catch((reason: unknown) => reason);
    expect(error).toMatchObject({
      code: "TIERLOG_UNSUPPORTED_PROVIDER",
      kind: "invalid",
      exitCode: 69,
      effect: "none",
      failed: [expect.stringContaining(said)],
    });
    const { message } = error as Error;
    expect(message).toContain("tierlog doctor");
    const usable = character !== "stale-reads" && character !== "unordered-listing";
    expect(message.includes('fencing = "external"')).toBe(usable);
    expect(message).not.toContain(s3.endpoint.credentials.secretAccessKey);
    // What is stale catches up.
    await expect.poll(() => s3.keys()).toEqual([expect.stringMatching(RECORD)]);
  });

  test("a refused store is probed again, and leaves one result however often", async () => {
    const s3 = await place({ character: "refuses-conditions" });
    for (let start = 0; start < 3; start++) {
      await expect(Engine.open(s3.config())).rejects.toMatchObject({ code: "TIERLOG_UNSUPPORTED_PROVIDER" });
    }
    expect(await s3.keys()).toHaveLength(1);
  });

  test("credentials that may not delete: used all the same, and told", async () => {
    const s3 = await place();
    s3.endpoint.setCredentials([{ ...s3.endpoint.credentials, deniedActions: ["s3:DeleteObject"] }]);
    const logger = new Log();
    await open(s3.config(), { runtime: { logger } });
    expect(logger.warnings).toEqual([expect.stringContaining("could not remove")]);
  });

  test.each(["s3:ListBucket", "s3:GetObject", "s3:PutObject"] as const)("without %s: told as such", async (action) => {
    const s3 = await place();
    s3.endpoint.setCredentials([{ ...s3.endpoint.credentials, deniedActions: [action] }]);
    await expect(Engine.open(s3.config())).rejects.toMatchObject({ code: "TIERLOG_OBJECT_STORE", status: 403 });
  });
});

describe("without a probe", () => {
  test("a read-only engine writes nothing", async () => {
    const s3 = await place();
    await expect(Engine.open(s3.config(), { readOnly: true })).rejects.toMatchObject({ code: "TIERLOG_NOT_FOUND" });
    expect(await s3.keys()).toEqual([]);
  });

  test("a read-only engine reads what a store holds that would be refused", async () => {
    const s3 = await place({ character: "ignores-conditions" });
    await appendOne(await open(s3.config({ fencing: "external" })));
    const reader = await open(s3.config(), { readOnly: true });
    expect(await readAll((await reader.topic("t")).partition(0))).toEqual(["a"]);
  });

  test.each(["ignores-conditions", "races-conditions", "refuses-conditions"] as const)(
    'fencing = "external" on %s: warns at each start, and one writer after the other works',
    async (character) => {
      const s3 = await place({ character });
      const logger = new Log();
      for (const expected of [["a"], ["a", "b"]]) {
        const engine = await open(s3.config({ fencing: "external" }), { runtime: { logger } });
        expect(engine.metrics().probeRequests).toBe(0);
        if (expected.length === 1) await engine.createTopic("t", { partitions: 1 });
        const partition = (await engine.topic("t")).partition(0);
        await partition.append(values(expected.at(-1) ?? ""));
        expect(await readAll(partition)).toEqual(expected);
        await engine.close();
      }
      expect(logger.warnings).toEqual([expect.stringContaining("external"), expect.stringContaining("external")]);
      expect((await s3.keys()).filter((key) => key.startsWith("probe/"))).toEqual([]);
    },
  );

  test('fencing = "external": the second of two writers that follow each other fences the first', async () => {
    const s3 = await place({ character: "refuses-conditions" });
    const config = s3.config({ fencing: "external" });
    const first = await open(config);
    await appendOne(first);
    const second = await open(config);
    await (await second.topic("t")).partition(0).append(values("b"));
    await expect((await first.topic("t")).partition(0).append(values("c"))).rejects.toMatchObject({
      code: "TIERLOG_FENCED",
    });
    expect(await readAll((await second.topic("t")).partition(0))).toEqual(["a", "b"]);
  });

  test("memory and directories are ours", async () => {
    const engine = await open(testConfig(), { objectStore: bad.ignoresConditions(createMemoryStore()) });
    expect(engine.metrics().probeRequests).toBe(0);
  });
});

describe("a store that the caller brings along, for a bucket", () => {
  const config = testConfig({ storage: { kind: "object", object: { bucket: "b", endpoint: "http://127.0.0.1:1" } } });

  test("is probed by its own calls", async () => {
    const engine = await open(config, { objectStore: createMemoryStore() });
    expect(engine.metrics().probeRequests).toBeGreaterThan(60);
  });

  test("that has lost its fence since it was probed is refused", async () => {
    const bucket = new MemoryBucket();
    await (await open(config, { objectStore: createMemoryStore(bucket) })).close();
    await (await open(config, { objectStore: createMemoryStore(bucket) })).close();
    const before = bucket.keys();
    const objectStore = bad.ignoresConditions(createMemoryStore(bucket));
    await expect(Engine.open(config, { objectStore })).rejects.toMatchObject({ code: "TIERLOG_UNSUPPORTED_PROVIDER" });
    expect(bucket.keys()).toEqual([...before, expect.stringMatching(RECORD)]);
  });

  test("is refused as well", async () => {
    await expect(Engine.open(config, { objectStore: bad.racesConditions(createMemoryStore()) })).rejects.toMatchObject({
      code: "TIERLOG_UNSUPPORTED_PROVIDER",
    });
  });
});
