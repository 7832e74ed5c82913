import { afterEach, expect, test } from "vitest";

import { defaultConfig } from "../../src/config/resolve-config.ts";
import { Engine, type OpenOptions } from "../../src/engine/engine.ts";
import { totalRequests } from "../../src/object-store/metered.ts";
import { expectAsScanned, timesOf } from "../support/naive-times.ts";
import { describeS3, freshPrefix, s3Settings } from "../support/s3.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
const NOW_MS = 1_700_000_000_000;

describeS3("lookups by time on a real S3 server", () => {
  const engines: Engine[] = [];

  afterEach(async () => {
    await Promise.allSettled(engines.splice(0).map((engine) => engine.close()));
  });

  test("inline and in a data object, as a scan finds them: a footer and a block at most", async () => {
    const prefix = freshPrefix();
    const { endpoint, bucket, region, credentials } = s3Settings(prefix);
    const open = async (options: OpenOptions = {}): Promise<Engine> => {
      const config = defaultConfig({
        storage: {
          kind: "object",
          object: { endpoint, bucket, region, prefix, credentials, multipartPartSizeBytes: 5 * MIB },
        },
        flush: { lingerMs: 60_000 },
        batch: { maxBytes: 128 * KIB },
      });
      const engine = await Engine.open(config, options);
      engines.push(engine);
      return engine;
    };
    const engine = await open();
    await engine.createTopic("events", { partitions: 1 });
    const partition = (await engine.topic("events")).partition(0);
    for (const count of [5, 400, 5]) {
      const appends = Array.from({ length: count }, (_, i) => {
        const timestampMs = NOW_MS + 10 * i - (i % 8 === 0 ? 1000 : 0);
        return partition.append([{ value: Buffer.alloc(20 * KIB, String(i)), timestampMs }]);
      });
      await engine.flush();
      await Promise.all(appends);
    }
    const scanned = await timesOf(partition);
    expect(scanned).toHaveLength(410);
    await expectAsScanned(partition, scanned, 10);

    const reader = await open({ readOnly: true });
    const cold = (await reader.topic("events")).partition(0);
    await cold.watermarks();
    const before = totalRequests(reader.metrics().store);
    // Record 201 of the second flush; the first has none that late.
    expect(await cold.offsetAt(NOW_MS + 2005)).toEqual({ offset: 206, timestampMs: NOW_MS + 2010 });
    expect(totalRequests(reader.metrics().store) - before).toBe(2);
    expect(await cold.offsetAt(NOW_MS + 2010)).toEqual({ offset: 206, timestampMs: NOW_MS + 2010 });
    expect(totalRequests(reader.metrics().store) - before).toBe(2);
    await expectAsScanned(cold, scanned, 10);
  });
});
