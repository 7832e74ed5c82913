import { expect, test } from "vitest";

import { ObjectStoreError } from "../../src/errors.ts";
import { createMemoryStore } from "../../src/object-store/memory-store.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";
import { Cluster, readAll, testConfig } from "../support/engine.ts";

const MIB = 1024 * 1024;

test("a store that asks for fewer requests gets fewer parts at a time, and metrics say so", async () => {
  const memory = createMemoryStore();
  let refusals = 3;
  const busy: ObjectStore = {
    ...memory,
    createMultipart: async (key, options) => {
      const upload = await memory.createMultipart(key, options);
      return {
        ...upload,
        putPart: async (...args) => {
          if (refusals-- <= 0) return upload.putPart(...args);
          throw new ObjectStoreError("busy", { operation: "uploadPart", key, status: 503, retryable: true });
        },
      };
    },
  };
  const cluster = new Cluster(busy);
  const object = { multipartPartSizeBytes: 5 * MIB, partsInFlight: 4 };
  const engine = await cluster.open(testConfig({ storage: { object }, flush: { lingerMs: 60_000 } }));
  expect(engine.metrics().uploads).toEqual({ partLimit: 8, partsInFlight: 0, throttled: 0 });
  await engine.createTopic("events", { partitions: 1 });
  const partition = (await engine.topic("events")).partition(0);
  const texts = Array.from({ length: 14 }, (_, i) => String(i).padEnd(MIB - 1024, "x"));
  const appends = texts.map((text) => partition.append([{ value: Buffer.from(text) }]));
  await engine.flush();
  await Promise.all(appends);
  const { partLimit, partsInFlight, throttled } = engine.metrics().uploads;
  expect([throttled, partsInFlight]).toEqual([3, 0]);
  expect(partLimit).toBeLessThan(4);
  expect((await readAll(partition)).map((text) => text.length)).toEqual(texts.map(({ length }) => length));
  await cluster.close();
});
