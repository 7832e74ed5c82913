import { afterEach, expect, test } from "vitest";

import { defaultConfig } from "../../src/config/resolve-config.ts";
import { Engine } from "../../src/engine/engine.ts";
import { collect, values } from "../support/engine.ts";
import { describeS3, freshPrefix, s3Settings } from "../support/s3.ts";

describeS3("trimming on a real S3 server", () => {
  const engines: Engine[] = [];

  afterEach(async () => {
    await Promise.allSettled(engines.splice(0).map((engine) => engine.close()));
  });

  test("a trim is one PUT; readers elsewhere, and who takes over, begin where it said", async () => {
    const prefix = freshPrefix();
    const { endpoint, bucket, region, credentials } = s3Settings(prefix);
    const open = async (readOnly = false): Promise<Engine> => {
      const engine = await Engine.open(
        defaultConfig({
          storage: { kind: "object", object: { endpoint, bucket, region, prefix, credentials } },
          flush: { lingerMs: 5 },
        }),
        { readOnly },
      );
      engines.push(engine);
      return engine;
    };
    const writer = await open();
    await writer.createTopic("t", { partitions: 1, retentionMs: "off" });
    const partition = (await writer.topic("t")).partition(0);
    await partition.append(values("a", "b", "c"));
    await partition.append(values("d"));
    const puts = writer.metrics().store.put.requests;
    expect(await partition.trim({ before: 2 })).toBe(2);
    expect(writer.metrics().store.put.requests).toBe(puts + 1);

    const reader = await open(true);
    const seen = await collect((await reader.topic("t")).partition(0).records({ from: "earliest" }));
    expect(seen.map(({ offset, value }) => [offset, Buffer.from(value ?? []).toString()])).toEqual([
      [2, "c"],
      [3, "d"],
    ]);
    const taker = await open();
    const theirs = (await taker.topic("t")).partition(0);
    expect(await theirs.trim({ before: 4 })).toBe(4);
    await expect(partition.trim({ before: 4 })).rejects.toMatchObject({ code: "TIERLOG_FENCED" });
    await theirs.append(values("e"));
    expect(await theirs.watermarks()).toMatchObject({ start: 4, uploaded: 5 });
  });
});
