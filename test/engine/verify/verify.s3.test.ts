import { afterEach, expect, test } from "vitest";

import { defaultConfig } from "../../../src/config/resolve-config.ts";
import { verifyStore } from "../../../src/engine/verify-store.ts";
import { createS3Store } from "../../../src/object-store/s3-store.ts";
import { systemRuntime } from "../../../src/runtime/runtime.ts";
import { damage, flipped } from "../../index-chain/links.ts";
import { describeS3, freshPrefix, s3Settings } from "../../support/s3.ts";
import { bytesOf, checkpoint, dataObjects, filledStore, index, put, truncate } from "./damaged-store.ts";

const ended: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of ended.splice(0).toReversed()) await end();
});

describeS3("verify on a real server", () => {
  test("a whole store, and damage of each part", async () => {
    const prefix = freshPrefix();
    const store = createS3Store(s3Settings(prefix), systemRuntime);
    ended.push(() => store.close());
    await filledStore(store);
    const { endpoint, bucket, region, credentials } = s3Settings("");
    const object = { endpoint, bucket, region, credentials, prefix };
    const config = defaultConfig({ storage: { kind: "object", object } });
    const whole = await verifyStore(config, { deep: true });
    expect([whole.clean, whole.findings, whole.totals.checkedRecords]).toEqual([true, [], 408]);

    const [first, second] = await dataObjects(store);
    await truncate(store, first, 1000);
    await put(store, second, Buffer.alloc(0));
    await store.delete([index(2)]);
    await damage(store, checkpoint(7), flipped(90));
    const { findings } = await verifyStore(config, { deep: true });
    expect(findings.map(({ code, key }) => `${code} ${key}`).sort()).toEqual(
      [
        `missing-index-file ${index(2)}`,
        `damaged-checkpoint ${checkpoint(7)}`,
        `data-object-size ${first}`,
        `data-object-size ${second}`,
      ].sort(),
    );
    expect((await bytesOf(store, second)).length).toBe(0);
  });
});
