import { afterEach, beforeEach, expect, test } from "vitest";

import type { Config } from "../../src/config/config.ts";
import { defaultConfig } from "../../src/config/resolve-config.ts";
import type { EngineMetrics } from "../../src/engine/api.ts";
import { Engine, type OpenOptions } from "../../src/engine/engine.ts";
import { readAll, values } from "../support/engine.ts";
import { describeS3, freshPrefix, s3Settings } from "../support/s3.ts";

describeS3("the engine on a real S3 server", () => {
  let prefix: string;
  const engines: Engine[] = [];

  beforeEach(() => {
    prefix = freshPrefix();
  });

  afterEach(async () => {
    await Promise.allSettled(engines.splice(0).map((engine) => engine.close()));
  });

  function config(): Config {
    const { endpoint, bucket, region, credentials } = s3Settings(prefix);
    return defaultConfig({
      storage: { kind: "object", object: { endpoint, bucket, region, prefix, credentials } },
      flush: { lingerMs: 5 },
    });
  }

  async function open(options: OpenOptions = {}): Promise<Engine> {
    const engine = await Engine.open(config(), options);
    engines.push(engine);
    return engine;
  }

  function requests(metrics: EngineMetrics): number {
    return Object.values(metrics.store).reduce((sum, operation) => sum + operation.requests, 0);
  }

  test.each([1, 50, 500])(
    "requests ÷ committed links = 1.00 with %i partitions, and all comes back after a restart",
    async (partitions) => {
      const first = await open();
      await first.createTopic("events", { partitions, compression: "lz4" });
      const topic = await first.topic("events");
      await topic.partition(0).append(values("warm"));
      const before = first.metrics();
      for (let flush = 0; flush < 5; flush++) {
        await Promise.all(
          Array.from({ length: partitions }, (_, i) => topic.partition(i).append(values(`f${flush}p${i}`))),
        );
      }
      const after = first.metrics();
      expect(after.committedLinks - before.committedLinks).toBe(5);
      expect(requests(after) - requests(before)).toBe(5);
      await first.close();

      const second = await open();
      const again = await second.topic("events");
      for (const i of new Set([0, Math.floor(partitions / 2), partitions - 1])) {
        const expected = Array.from({ length: 5 }, (_, flush) => `f${flush}p${i}`);
        expect(await readAll(again.partition(i))).toEqual(i === 0 ? ["warm", ...expected] : expected);
      }
      await expect(again.partition(0).append(values("on"))).resolves.toMatchObject({ firstOffset: 6, epoch: 2 });
    },
  );

  test("reading all 500 partitions costs at most two GETs a link", async () => {
    const writer = await open();
    await writer.createTopic("events", { partitions: 500 });
    const topic = await writer.topic("events");
    for (let flush = 0; flush < 6; flush++) {
      await Promise.all(
        Array.from({ length: 500 }, (_, i) => topic.partition(i).append(values(`f${flush}p${i}${"z".repeat(300)}`))),
      );
    }
    const { committedLinks } = writer.metrics();
    const reader = await open({ readOnly: true });
    const read = await reader.topic("events");
    await read.partition(0).watermarks();
    const { uploaded } = await read.partition(0).watermarks();
    const before = reader.metrics().store.get.requests;
    // Up to the known end: asking the chain for news is not counted against the links.
    const counts = await Promise.all(
      Array.from({ length: 500 }, async (_, i) => {
        let from = 0;
        let batches = 0;
        while (from < uploaded) {
          const found = await read.partition(i).read({ from });
          batches += found.batches.length;
          from = found.nextOffset;
        }
        return batches;
      }),
    );
    expect(counts.every((count) => count === 6)).toBe(true);
    expect(reader.metrics().store.get.requests - before).toBeLessThanOrEqual(2 * committedLinks);
  });

  test("a second writer takes over; the first is fenced and nothing of it is stored", async () => {
    const a = await open();
    await a.createTopic("events", { partitions: 1 });
    const ofA = (await a.topic("events")).partition(0);
    await ofA.append(values("a"));
    const b = await open();
    const ofB = (await b.topic("events")).partition(0);
    await expect(ofB.append(values("b"))).resolves.toMatchObject({ epoch: 2, firstOffset: 1 });
    await expect(ofA.append(values("lost"))).rejects.toMatchObject({
      code: "TIERLOG_FENCED",
      localEpoch: 1,
      currentEpoch: 2,
      effect: "none",
    });
    expect(await readAll(ofB)).toEqual(["a", "b"]);
  });

  test("a bucket that is not there, and keys that are wrong, say so at once and leave no secret", async () => {
    const base = config();
    const missing = defaultConfig({
      ...base,
      storage: { ...base.storage, object: { ...base.storage.object, bucket: "no-such-bucket-here" } },
    });
    await expect(Engine.open(missing)).rejects.toMatchObject({
      code: "TIERLOG_OBJECT_STORE",
      status: 404,
      effect: "none",
    });
    const wrong = defaultConfig({
      ...base,
      storage: {
        ...base.storage,
        object: { ...base.storage.object, credentials: { accessKeyId: "nobody", secretAccessKey: "canary-secret" } },
      },
    });
    const error: unknown = await Engine.open(wrong).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: "TIERLOG_OBJECT_STORE", status: 403 });
    expect(JSON.stringify(error) + String(error)).not.toContain("canary-secret");
  });
});
