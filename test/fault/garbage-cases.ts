import { afterEach, describe, expect, test } from "vitest";

import type { Config } from "../../src/config/config.ts";
import { defaultConfig } from "../../src/config/resolve-config.ts";
import type { ObjectKey } from "../../src/domain.ts";
import { Engine, type OpenOptions } from "../../src/engine/engine.ts";
import { openStore } from "../../src/engine/open-store.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";
import { FaultScript } from "../../src/testing/fault-script.ts";
import { contents, fill, fillObject, MIB } from "../engine/gc-scenario.ts";
import { GRACE_MS, keysOf, openCollector, ROUND_MS } from "../support/gc-rig.ts";
import type { FaultyServer, OpenFaultyServer } from "../testing/faulty-server.ts";

const KIB = 1024;

interface Differences {
  readonly object?: Partial<Config["storage"]["object"]>;
  readonly merge?: Partial<Config["merge"]>;
  readonly segment?: Partial<Config["segment"]>;
}

/** Garbage collection on a server that misbehaves, or beside processes that are late. */
export function describeGarbageCases(name: string, openServer: OpenFaultyServer): void {
  describe(`garbage collection: ${name}`, () => {
    const ended: (() => Promise<unknown>)[] = [];
    afterEach(async () => {
      for (const end of ended.splice(0).toReversed()) await end();
    });

    async function start(script: FaultScript): Promise<{
      open: (options?: OpenOptions, differences?: Differences) => Promise<Engine>;
      store: ObjectStore;
      server: FaultyServer["server"];
    }> {
      const { server, settings } = await openServer(script);
      ended.push(() => server.close());
      const { endpoint, bucket, region, prefix, credentials } = settings;
      const config = ({ object = {}, merge = {}, segment = {} }: Differences): Config => {
        const settings = defaultConfig({
          storage: {
            kind: "object",
            object: {
              endpoint,
              bucket,
              region,
              prefix,
              // The SDK writes into what it gets.
              credentials: { accessKeyId: credentials.accessKeyId, secretAccessKey: credentials.secretAccessKey },
              multipartPartSizeBytes: 5 * MIB,
              ...object,
            },
          },
          flush: { lingerMs: 2 },
          index: { checkpointEvery: 16 },
          cache: { tailSizeBytes: 64 * KIB, sizeBytes: 64 * KIB },
          gc: { graceMs: GRACE_MS, intervalMs: ROUND_MS, sweepIntervalMs: 10 * GRACE_MS },
        });
        return {
          ...settings,
          merge: { ...settings.merge, ...merge },
          segment: { ...settings.segment, ...segment },
        };
      };
      const open = async (options: OpenOptions = {}, differences: Differences = {}): Promise<Engine> => {
        const engine = await Engine.open(config(differences), options);
        ended.push(() => engine.close());
        return engine;
      };
      const store = await openStore(config({}), systemRuntime, true);
      ended.push(() => store.close());
      return { open, store, server };
    }

    test("F29 zombie-late-segment-put: the object of a flush that lands behind the next owner's fence is seen by nobody, and swept", async () => {
      const script = new FaultScript();
      const { open, store, server } = await start(script);
      const zombie = await open({}, { object: { requestTimeoutMs: 1000, deadlineMs: 1500 } });
      await zombie.createTopic("t", { partitions: 1 });
      await fill(zombie, "t", 1);
      // Its last words: nothing that it sends after them arrives.
      script.add({
        match: { operation: "CompleteMultipartUpload", times: 1 },
        fault: { kind: "late-landing", delayMs: Number.POSITIVE_INFINITY },
      });
      const lost = (["CompleteMultipartUpload", "AbortMultipartUpload"] as const).map((operation) =>
        script.add({ match: { operation }, fault: { kind: "lost-request" } }),
      );
      await expect(fillObject(zombie, "t", 1)).rejects.toMatchObject({ effect: "none" });
      const { engine, clock, round } = await openCollector((options) => open(options));
      await fill(engine, "t", 1);
      for (const rule of lost) rule.remove();
      expect(await keysOf(store, "data/")).toEqual([]);
      await server.landLate();
      const [late] = await keysOf(store, "data/");
      expect(late).toBeDefined();

      await round();
      clock.aheadMs += GRACE_MS - 1000;
      await round();
      expect(await keysOf(store, "data/")).toEqual([late]);
      expect(await contents(await open({ readOnly: true }), "t")).toEqual(["0: t 0", "1: t 0"]);
      clock.aheadMs += 2000;
      await round();
      expect(await keysOf(store, "data/")).toEqual([]);
      expect(engine.metrics().gc).toMatchObject({ objectsDeleted: 1, waiting: 0, lastError: undefined });
      expect(await contents(await open({ readOnly: true }), "t")).toEqual(["0: t 0", "1: t 0"]);
    });

    test("F30 gc-vs-reader: a reader whose links were merged and deleted as it read folds anew, once, and goes on", async () => {
      const { open, store, server } = await start(new FaultScript());
      const records = 12;
      const value = (i: number): Buffer => Buffer.alloc(200 * KIB, i);
      const writer = await open({}, { merge: { enabled: false } });
      await writer.createTopic("t", { partitions: 1, compression: "none" });
      const partition = (await writer.topic("t")).partition(0);
      for (let i = 0; i < records; i++) await partition.append([{ value: value(i) }]);
      const old = await keysOf(store, "index/");
      expect(old.length).toBeGreaterThan(records);

      const { engine, clock, round } = await openCollector((options) =>
        open(options, { merge: { checkIntervalMs: 100 }, segment: { maxAgeMs: 1000 } }),
      );
      const mergeAndDelete = async (): Promise<void> => {
        await fill(engine, "t", 1);
        await until(async () => {
          clock.aheadMs += 10_000;
          await new Promise((resolve) => setTimeout(resolve, 20));
          return engine.metrics().merge.merges > 0;
        });
        await until(async () => {
          await round();
          clock.aheadMs += GRACE_MS + 1000;
          const left = new Set<ObjectKey>(await keysOf(store, "index/"));
          return old.every((key) => !left.has(key));
        });
      };
      const reading = await open({ readOnly: true, runtime: { clock } });
      const reader = (await reading.topic("t")).partition(0);
      const seen: number[] = [];
      const wrong: number[] = [];
      let before = 0;
      for await (const { offset, value: found } of reader.records({ from: "earliest" })) {
        seen.push(offset);
        if (offset < records && (found === null || Buffer.compare(found, value(offset)) !== 0)) wrong.push(offset);
        if (offset > 0) continue;
        await mergeAndDelete();
        before = server.requests.count("GetObject") + server.requests.count("ListObjectsV2");
      }
      expect(seen).toEqual(Array.from({ length: records + 1 }, (_, i) => i));
      expect(wrong).toEqual([]);
      const requests = server.requests.count("GetObject") + server.requests.count("ListObjectsV2") - before;
      expect(requests).toBeGreaterThan(0);
      expect(requests).toBeLessThan(4 * records);
    });

    test("F52 versioned-or-locked-bucket: deletes that the bucket's policy denies are counted, and nothing is asked twice in a round", async () => {
      const script = new FaultScript({});
      const { open, store } = await start(script);
      const warnings: string[] = [];
      const { engine, clock, round } = await openCollector((options) => open(options), {
        info: () => undefined,
        warn: (message) => warnings.push(message),
      });
      await engine.createTopic("t", { partitions: 1 });
      for (let i = 0; i < 2; i++) await fillObject(engine, "t", i);
      await fill(engine, "t", 40);
      await (await engine.topic("t")).partition(0).trim({ before: 53 });
      await round();
      clock.aheadMs += GRACE_MS + 1000;
      const denial = ["DeleteObject", "DeleteObjects"].map((operation) =>
        script.add({
          match: { operation: operation as "DeleteObject" },
          fault: { kind: "access-denied" },
        }),
      );
      const before = await keysOf(store);
      await round();
      await round();
      expect(
        (await keysOf(store)).filter((key) => !key.startsWith("index/") && !key.startsWith("checkpoint/")),
      ).toEqual(before.filter((key) => !key.startsWith("index/") && !key.startsWith("checkpoint/")));
      // Links in one request, objects in another; checkpoints are the chain's own business.
      expect(engine.metrics().gc).toMatchObject({ linksDeleted: 0, objectsDeleted: 0 });
      expect(engine.metrics().gc.refused).toBeGreaterThan(2 * 16);
      expect(engine.metrics().gc.lastError).toContain("AccessDenied");
      expect(warnings.filter((message) => message.startsWith("not all garbage"))).toHaveLength(2);
      for (const rule of denial) rule.remove();
      await round();
      expect(await keysOf(store, "data/")).toEqual([]);
      expect(engine.metrics().gc).toMatchObject({ lastError: undefined, waiting: 0, objectsDeleted: 2 });
      expect(await contents(engine, "t")).toEqual(["53: t 39"]);
    });

    test("answers that are lost, slow or wrong cost a round, not a record: what was deleted stays so, what was not goes later", async () => {
      const script = new FaultScript({ seed: 7 });
      const { open, store } = await start(script);
      const { engine, clock, round } = await openCollector((options) => open(options));
      await engine.createTopic("t", { partitions: 1 });
      await fillObject(engine, "t", 1);
      await fill(engine, "t", 40);
      await (await engine.topic("t")).partition(0).trim({ before: 46 });
      const match = { operation: ["DeleteObject", "DeleteObjects", "ListObjectsV2"], probability: 0.2 } as const;
      const rules = [
        ...(["lost-answer", "slow-down", "internal-error"] as const).map((kind) =>
          script.add({ match, fault: { kind } }),
        ),
        script.add({ match: { ...match, operation: "ListObjectsV2" }, fault: { kind: "truncated-answer" } }),
        script.add({
          match: { ...match, operation: "DeleteObjects" },
          fault: { kind: "ok-with-error", committed: true },
        }),
      ];
      for (let i = 0; i < 3; i++) {
        await round();
        clock.aheadMs += GRACE_MS + 1000;
      }
      await round();
      expect(rules.reduce((sum, { struck }) => sum + struck, 0)).toBeGreaterThan(3);
      for (const rule of rules) rule.remove();
      await round();
      clock.aheadMs += 11 * GRACE_MS;
      await round();
      expect(await keysOf(store, "data/")).toEqual([]);
      expect((await keysOf(store, "index/")).length).toBeLessThan(30);
      expect(await contents(await open({ readOnly: true }), "t")).toEqual(["46: t 39"]);
    });
  });
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 100; i++) if (await condition()) return;
  throw new Error("a hundred tries were not enough");
}
