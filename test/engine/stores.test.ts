import { writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import type { Config } from "../../src/config/config.ts";
import { defaultConfig } from "../../src/config/resolve-config.ts";
import type { ObjectKey } from "../../src/domain.ts";
import { Engine } from "../../src/engine/engine.ts";
import { atPrefix } from "../../src/engine/store-root.ts";
import { createStore, deleteStore, describeStore, listStores } from "../../src/engine/stores.ts";
import { createFsStore } from "../../src/object-store/fs-store.ts";
import { MemoryBucket, createMemoryStore } from "../../src/object-store/memory-store.ts";
import { FORMAT_KEY, catalogKey } from "../../src/object-store/object-names.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";
import { prefixed } from "../../src/object-store/prefixed.ts";
import { createS3Store } from "../../src/object-store/s3-store.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";
import { ENDPOINT_BUCKET, EndpointPlace } from "../support/endpoint-place.ts";
import { collect, readAll, testConfig, values } from "../support/engine.ts";

interface Place {
  readonly config: Config;
  /** All that is there, from the top. */
  readonly raw: ObjectStore;
  readonly s3?: EndpointPlace;
}

const ended: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of ended.splice(0).toReversed()) await end();
});

const PLACES: Readonly<Record<"fs" | "endpoint", () => Promise<Place>>> = {
  async fs() {
    const path = await mkdtemp(join(tmpdir(), "tierlog-stores-"));
    ended.push(() => rm(path, { recursive: true, force: true }));
    return {
      config: defaultConfig({ path, flush: { lingerMs: 1 } }),
      raw: createFsStore({ root: join(path, "store"), ...systemRuntime }),
    };
  },
  async endpoint() {
    const s3 = await EndpointPlace.start();
    ended.push(() => s3.close());
    const config = s3.config();
    const { accessKeyId, secretAccessKey } = s3.endpoint.credentials;
    const raw = createS3Store(
      {
        endpoint: s3.endpoint.url,
        bucket: ENDPOINT_BUCKET,
        region: s3.endpoint.region,
        prefix: "",
        credentials: { accessKeyId, secretAccessKey },
        forcePathStyle: true,
        requestTimeoutMs: 5000,
        maxSockets: 8,
        ifMatchEtag: "quoted",
      },
      systemRuntime,
    );
    ended.push(() => raw.close());
    return { config, raw, s3 };
  },
};

async function keys(store: ObjectStore, prefix = ""): Promise<string[]> {
  return (await collect(store.list(prefix))).map(({ key }) => key);
}

/** One engine at a prefix, which writes `texts` to its own topic of the same name as everybody's. */
async function fill(config: Config, prefix: string, texts: string[]): Promise<void> {
  const engine = await Engine.open(atPrefix(config, prefix));
  await engine.createTopic("t", { partitions: 2 });
  for (const text of texts) await (await engine.topic("t")).partition(0).append(values(text));
  await engine.close();
}

async function read(config: Config, prefix: string): Promise<string[]> {
  const engine = await Engine.open(atPrefix(config, prefix), { readOnly: true });
  const found = await readAll((await engine.topic("t")).partition(0));
  await engine.close();
  return found;
}

const put = (store: ObjectStore, key: string, body = "x"): Promise<unknown> =>
  store.put(key as ObjectKey, Buffer.from(body), { condition: { kind: "none" } });

describe.each(Object.keys(PLACES) as (keyof typeof PLACES)[])("stores on %s", (kind) => {
  let place: Place;
  beforeEach(async () => {
    place = await PLACES[kind]();
  });

  test("created, listed, described, deleted", async () => {
    const { config, raw } = place;
    const created = await createStore(config, "teams/orders");
    expect(created).toEqual({
      prefix: "teams/orders",
      storeId: expect.stringMatching(/^[0-9a-f]{32}$/) as string,
      formatVersion: 1,
      createdAt: expect.stringMatching(/^20.*Z$/) as string,
      problem: undefined,
    });
    await createStore(config, "other");
    await fill(config, "teams/orders", ["a", "b"]);
    const listing = await listStores(config);
    expect(listing.stores.map(({ prefix }) => prefix)).toEqual(["other", "teams/orders"]);
    expect(listing.stores[1]).toEqual(created);
    expect((await listStores(config, { prefix: "teams" })).stores).toEqual([created]);
    expect((await listStores(config, { prefix: "team" })).stores).toEqual([]);

    const progress: string[] = [];
    const described = await describeStore(config, "teams/orders", { onProgress: ({ doing }) => progress.push(doing) });
    const sizes = (await collect(raw.list("teams/orders/"))).map(({ sizeBytes }) => sizeBytes);
    expect(described).toMatchObject({
      prefix: "teams/orders",
      storeId: created.storeId,
      formatVersion: 1,
      topics: [{ name: "t", partitions: 2 }],
      shards: [{ shard: 0, epoch: 1, owner: "", links: 4 }],
      contents: { catalog: { objects: 1 }, index: { objects: 4 }, checkpoint: { objects: 0, bytes: 0 } },
      total: { objects: sizes.length, bytes: sizes.reduce((sum, size) => sum + size, 0) },
    });
    expect(described.probe?.verdict).toBe(kind === "fs" ? undefined : "fenced");
    expect(progress).toContain("counting index");

    const before = (await keys(raw, "teams/")).length;
    expect(await deleteStore(config, "teams/orders")).toEqual({
      prefix: "teams/orders",
      storeId: created.storeId,
      objects: before,
      bytes: described.total.bytes,
      uploads: 0,
      othersLeft: false,
    });
    expect(await keys(raw, "teams/")).toEqual([]);
    expect((await listStores(config)).stores.map(({ prefix }) => prefix)).toEqual(["other"]);
  });

  test("two stores side by side never touch each other's keys", async () => {
    const { config, raw } = place;
    // Engines do not look around: one below another is bad style, but does no harm.
    const prefixes = ["a", "ab", "a/b", "a/data"];
    const engines = await Promise.all(prefixes.map((prefix) => Engine.open(atPrefix(config, prefix))));
    for (const [i, engine] of engines.entries()) {
      await engine.createTopic("t", { partitions: 1 });
      await (await engine.topic("t")).partition(0).append(values(`of ${prefixes[i]}`));
      await (await engine.topic("t")).partition(0).append(values("x".repeat(100 * (i + 1))));
    }
    expect(new Set(engines.map(({ storeId }) => storeId)).size).toBe(prefixes.length);
    await Promise.all(engines.map((engine) => engine.close()));
    for (const prefix of prefixes) expect((await read(config, prefix))[0]).toBe(`of ${prefix}`);
    const ofAb = await keys(raw, "ab/");
    const ofNested = await keys(raw, "a/b/");
    await deleteStore(config, "a/data");
    await deleteStore(config, "a/b");
    expect(await keys(raw, "ab/")).toEqual(ofAb);
    expect(ofNested.length).toBeGreaterThan(3);
    await deleteStore(config, "a");
    expect(await keys(raw)).toEqual(ofAb);
    expect((await read(config, "ab"))[0]).toBe("of ab");
  });

  test("an interrupted delete leaves FORMAT, no topics, and can be repeated", async () => {
    const { config, raw } = place;
    await fill(config, "a", ["x"]);
    const interrupted = new AbortController();
    const onProgress = ({ doing }: { readonly doing: string }): void => {
      if (doing === "deleting index") interrupted.abort(new Error("enough"));
    };
    await expect(deleteStore(config, "a", { signal: interrupted.signal, onProgress })).rejects.toMatchObject({
      code: "TIERLOG_ABORTED",
    });
    const left = await keys(raw, "a/");
    expect(left).toContain("a/FORMAT");
    expect(left).not.toContain(`a/${catalogKey(1)}`);
    await deleteStore(config, "a");
    expect(await keys(raw, "a/")).toEqual([]);
  });
});

describe("stores in a directory", () => {
  let place: Place;
  beforeEach(async () => {
    place = await PLACES.fs();
  });

  test("the owner of a shard is named while it holds it", async () => {
    const engine = await Engine.open(atPrefix(place.config, "a"));
    await engine.createTopic("t", { partitions: 1 });
    await (await engine.topic("t")).partition(0).append(values("x"));
    const { shards } = await describeStore(place.config, "a");
    expect(shards).toEqual([{ shard: 0, epoch: 1, owner: expect.stringMatching(/./) as string, links: 2 }]);
    await engine.close();
  });

  test("a prefix that is taken, or lies above or below a store, is refused, and nothing is written", async () => {
    const { config, raw } = place;
    await createStore(config, "a/b");
    const before = await keys(raw);
    await expect(createStore(config, "a/b")).rejects.toThrow(/a store is at a\/b already/);
    await expect(createStore(config, "a/b/c/d")).rejects.toThrow(/lies below the store at a\/b/);
    await expect(createStore(config, "a")).rejects.toThrow(/objects below a already, as b\/FORMAT/);
    await expect(createStore(config, "")).rejects.toThrow(/objects below \/ already/);
    for (const prefix of ["/a", "a//b", "a/../b"]) {
      await expect(createStore(config, prefix)).rejects.toMatchObject({ code: "TIERLOG_INVALID_ARGUMENT" });
    }
    expect(await keys(raw)).toEqual(before);
    await createStore(config, "a/bc");
    await createStore(config, "ab");
  });

  test("a store at the top is one like others", async () => {
    const { config, raw } = place;
    await createStore(config, "");
    await fill(config, "", ["top"]);
    expect((await listStores(config)).stores.map(({ prefix }) => prefix)).toEqual([""]);
    expect((await describeStore(config, "")).topics).toHaveLength(1);
    await put(raw, "photos/1.jpg");
    expect(await deleteStore(config, "")).toMatchObject({ othersLeft: true });
    expect(await keys(raw)).toEqual(["photos/1.jpg"]);
  });

  describe("delete refuses", () => {
    test("a prefix without FORMAT", async () => {
      await put(place.raw, "a/index/0000/00000000000000000000.idx");
      for (const prefix of ["a", "nothing"]) {
        await expect(deleteStore(place.config, prefix)).rejects.toMatchObject({
          code: "TIERLOG_NOT_FOUND",
          exitCode: 66,
        });
      }
      expect(await keys(place.raw)).toHaveLength(1);
    });

    test.each(["a/b", "a/x/y/z", "a/data", "a/data/4f", "a/probe/start-1"])(
      "one with a store at %s",
      async (nested) => {
        const { config, raw } = place;
        await fill(config, "a", ["x"]);
        await fill(config, nested, ["y"]);
        const before = await keys(raw);
        await expect(deleteStore(config, "a")).rejects.toThrow(`other stores lie below a: ${nested};`);
        expect(await keys(raw)).toEqual(before);
      },
    );

    test("to go on for ever where somebody writes on: FORMAT stays, and it can be repeated", async () => {
      const { config, raw } = place;
      await fill(config, "a", ["x"]);
      const directory = join(config.path, "store", "a", "index", "0000");
      let written = 0;
      const onProgress = (): void => {
        writeFileSync(join(directory, `${String(written++).padStart(20, "0")}.idx`), "a writer's next link");
      };
      await expect(deleteStore(config, "a", { onProgress })).rejects.toMatchObject({
        code: "TIERLOG_OBJECT_STORE",
        retryable: false,
        message: expect.stringContaining("stop every process that writes to it, and repeat") as string,
      });
      expect(await keys(raw)).toContain("a/FORMAT");
      await deleteStore(config, "a");
      expect(await keys(raw)).toEqual([]);
    });

    test("a FORMAT that is not ours, or newer", async () => {
      const { config, raw } = place;
      await put(raw, "a/FORMAT", "{}");
      await put(raw, "b/FORMAT", JSON.stringify({ format: "tierlog", version: 2, stores: [] }));
      await expect(deleteStore(config, "a")).rejects.toMatchObject({ code: "TIERLOG_CORRUPTION" });
      await expect(deleteStore(config, "b")).rejects.toMatchObject({ code: "TIERLOG_UNSUPPORTED_VERSION" });
      expect(await keys(raw)).toHaveLength(2);
    });
  });

  test("a search goes no deeper than it is told, and says where it stopped", async () => {
    const { config, raw } = place;
    await createStore(config, "1/2/3");
    await put(raw, "1/2/x/y/z");
    await put(raw, "1/flat");
    expect(await listStores(config, { depth: 1 })).toEqual({ stores: [], unexplored: ["1/2"] });
    const deep = await listStores(config, { depth: 3 });
    expect([deep.stores.map(({ prefix }) => prefix), deep.unexplored]).toEqual([["1/2/3"], ["1/2/x/y"]]);
    expect((await listStores(config, { depth: 9 })).unexplored).toEqual([]);
  });

  test("stores that cannot be read are listed with the reason, other objects of the name are none", async () => {
    const { config, raw } = place;
    await createStore(config, "good");
    await put(raw, "newer/FORMAT", JSON.stringify({ format: "tierlog", version: 9 }));
    await put(raw, "other/FORMAT", "a disk image");
    const { stores } = await listStores(config);
    expect(stores.map(({ prefix, problem }) => [prefix, problem])).toEqual([
      ["good", undefined],
      [
        "newer",
        "format of the store (object FORMAT): found 9, this version supports 1; a newer tierlog wrote it: use that version",
      ],
    ]);
    await expect(Engine.open(atPrefix(config, "newer"))).rejects.toMatchObject({
      code: "TIERLOG_UNSUPPORTED_VERSION",
      found: "9",
    });
    await expect(Engine.open(atPrefix(config, "other"))).rejects.toMatchObject({ code: "TIERLOG_CORRUPTION" });
  });
});

test("two engines on one store in memory, each below a prefix of its own", async () => {
  const bucket = new MemoryBucket();
  for (const prefix of ["a", "ab", "a/b"]) {
    const engine = await Engine.open(testConfig(), { objectStore: prefixed(createMemoryStore(bucket), prefix) });
    await engine.createTopic("t", { partitions: 1 });
    const partition = (await engine.topic("t")).partition(0);
    await partition.append(values(prefix));
    expect(await readAll(partition)).toEqual([prefix]);
    await engine.close();
  }
  const all = bucket.keys();
  expect(all.filter((key) => key.endsWith(FORMAT_KEY))).toEqual(["a/FORMAT", "a/b/FORMAT", "ab/FORMAT"]);
  expect(all.every((key) => /^(a|ab|a\/b)\/(FORMAT|catalog\/|index\/)/.test(key))).toBe(true);
});

test("memory holds no stores", async () => {
  await expect(listStores(testConfig())).rejects.toMatchObject({ code: "TIERLOG_CONFIG" });
});

describe("in a bucket", () => {
  let place: Place;
  let s3: EndpointPlace;
  beforeEach(async () => {
    place = await PLACES.endpoint();
    s3 = place.s3 as EndpointPlace;
  });

  async function openUpload(key: string): Promise<void> {
    const upload = await place.raw.createMultipart(key as ObjectKey);
    await upload.putPart(1, Buffer.from("part"));
  }

  test("delete ends the open uploads of that store, and of no other", async () => {
    const { config } = place;
    await createStore(config, "a");
    await createStore(config, "ab");
    for (let i = 0; i < 3; i++) await openUpload(`a/data/0${i}/x.log`);
    for (const key of ["ab/data/00/x.log", "a/elsewhere", "data/00/x.log"]) await openUpload(key);
    expect(await deleteStore(config, "a")).toMatchObject({ uploads: 3 });
    expect(s3.endpoint.openUploads).toBe(3);
  });

  test("credentials that may not look for uploads: all else is deleted", async () => {
    await createStore(place.config, "a");
    s3.endpoint.setCredentials([{ ...s3.endpoint.credentials, deniedActions: ["s3:ListBucketMultipartUploads"] }]);
    expect(await deleteStore(place.config, "a")).toMatchObject({ uploads: undefined });
    expect(await keys(place.raw)).toEqual([]);
  });

  test("a store that needs another key is listed with the reason", async () => {
    const encryption = { mode: "sse-c", customerKey: Buffer.alloc(32, 1).toString("base64") } as const;
    await createStore(s3.config({ encryption }), "secret");
    await createStore(place.config, "plain");
    const { stores } = await listStores(place.config);
    expect(stores.map(({ prefix, storeId }) => [prefix, storeId === undefined])).toEqual([
      ["plain", false],
      ["secret", true],
    ]);
    expect(stores[1]?.problem).toContain("customer's key");
  });

  test("a store that takes no multi-delete is emptied one by one", async () => {
    const swift = await EndpointPlace.start({ character: "wants-content-md5" });
    ended.push(() => swift.close());
    await fill(swift.config(), "a", ["x", "y"]);
    await deleteStore(swift.config(), "a");
    expect(await swift.keys()).toEqual([]);
  });
});

describe("create_bucket", () => {
  test("makes a missing bucket when the store is opened for writing, not for reading", async () => {
    const s3 = await EndpointPlace.start({ buckets: [] });
    ended.push(() => s3.close());
    await expect(Engine.open(s3.config())).rejects.toMatchObject({ status: 404 });
    const config = s3.config({ createBucket: true });
    await expect(Engine.open(config, { readOnly: true })).rejects.toMatchObject({ status: 404 });
    await (await Engine.open(config)).close();
    await (await Engine.open(config)).close();
    expect(await s3.keys()).toContain("FORMAT");
    await createStore(s3.config({ createBucket: true, bucket: "another-one" }), "a");
  });

  test("without the permission it says so", async () => {
    const s3 = await EndpointPlace.start({ buckets: [] });
    ended.push(() => s3.close());
    s3.endpoint.setCredentials([{ ...s3.endpoint.credentials, deniedActions: ["s3:CreateBucket"] }]);
    await expect(Engine.open(s3.config({ createBucket: true }))).rejects.toMatchObject({
      status: 403,
      key: ENDPOINT_BUCKET,
    });
  });
});
