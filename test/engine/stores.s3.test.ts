import { afterEach, expect, test } from "vitest";

import type { Config } from "../../src/config/config.ts";
import { defaultConfig } from "../../src/config/resolve-config.ts";
import type { ObjectKey } from "../../src/domain.ts";
import { Engine } from "../../src/engine/engine.ts";
import { atPrefix } from "../../src/engine/store-root.ts";
import { createStore, deleteStore, describeStore, listStores } from "../../src/engine/stores.ts";
import { createS3Store } from "../../src/object-store/s3-store.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";
import { collect, readAll, values } from "../support/engine.ts";
import { describeCeph, describeS3, freshPrefix, s3Settings } from "../support/s3.ts";

const ended: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of ended.splice(0).toReversed()) await end();
});

function config(more: Partial<Config["storage"]["object"]> = {}): Config {
  const { endpoint, bucket, region, credentials } = s3Settings("");
  return defaultConfig({
    storage: { kind: "object", object: { endpoint, bucket, region, credentials, ...more } },
    flush: { lingerMs: 5 },
  });
}

describeS3("stores in one bucket of a real server", () => {
  test("two beside each other: found, described, one deleted with its uploads, the other whole", async () => {
    const top = freshPrefix();
    for (const name of ["a", "ab"]) {
      await createStore(config(), `${top}/${name}`);
      const engine = await Engine.open(atPrefix(config(), `${top}/${name}`));
      ended.push(() => engine.close());
      await engine.createTopic("t", { partitions: 1 });
      await (await engine.topic("t")).partition(0).append(values(name));
      await engine.close();
    }
    const raw = createS3Store(s3Settings(top), systemRuntime);
    ended.push(() => raw.close());
    for (const key of ["a/data/00/x.log", "ab/data/00/x.log"]) {
      const upload = await raw.createMultipart(key as ObjectKey);
      ended.push(() => upload.abort());
      await upload.putPart(1, Buffer.from("part"));
    }
    const { stores } = await listStores(config(), { prefix: top });
    expect(stores.map(({ prefix, problem }) => [prefix, problem])).toEqual([
      [`${top}/a`, undefined],
      [`${top}/ab`, undefined],
    ]);
    const described = await describeStore(config(), `${top}/a`);
    expect(described).toMatchObject({
      topics: [{ name: "t" }],
      shards: [{ shard: 0, epoch: 1, owner: "", links: 3 }],
      probe: { verdict: "fenced" },
    });
    const before = (await collect(raw.list("ab/"))).map(({ key }) => key);
    expect(await deleteStore(config(), `${top}/a`)).toMatchObject({
      objects: described.total.objects,
      uploads: 1,
      othersLeft: false,
    });
    expect((await collect(raw.list(""))).map(({ key }) => key)).toEqual(before);
    const reader = await Engine.open(atPrefix(config(), `${top}/ab`), { readOnly: true });
    ended.push(() => reader.close());
    expect(await readAll((await reader.topic("t")).partition(0))).toEqual(["ab"]);
  });
});

describeCeph("create_bucket on Ceph's gateway", () => {
  test.each(["us-east-1", "eu-central-1"])("a missing bucket is made, signed for %s", async (region) => {
    const bucket = `made-${freshPrefix().slice(-12)}`;
    const missing = config({ bucket, region });
    await expect(Engine.open(missing)).rejects.toMatchObject({ code: "TIERLOG_OBJECT_STORE", status: 404 });
    const engine = await Engine.open({
      ...missing,
      storage: { ...missing.storage, object: { ...missing.storage.object, createBucket: true } },
    });
    await engine.close();
    await (await Engine.open(missing)).close();
  });
});
