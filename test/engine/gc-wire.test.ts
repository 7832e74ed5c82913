import { afterEach, expect, test } from "vitest";

import { defaultConfig } from "../../src/config/resolve-config.ts";
import { Engine, type OpenOptions } from "../../src/engine/engine.ts";
import { openStore } from "../../src/engine/open-store.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";
import { FaultScript } from "../../src/testing/fault-script.ts";
import { startEndpoint } from "../support/endpoint.ts";
import { GRACE_MS, keysOf, openCollector, ROUND_MS } from "../support/gc-rig.ts";
import { contents, fill, fillObject, MIB } from "./gc-scenario.ts";

const ended: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of ended.splice(0).toReversed()) await end();
});

async function start(script: FaultScript) {
  const { server, settings } = await startEndpoint({ faults: script });
  ended.push(() => server.close());
  const { endpoint, bucket, region, prefix, credentials } = settings;
  const config = defaultConfig({
    storage: {
      kind: "object",
      object: { endpoint, bucket, region, prefix, credentials, multipartPartSizeBytes: 5 * MIB },
    },
    flush: { lingerMs: 2 },
    index: { checkpointEvery: 16 },
    gc: { graceMs: GRACE_MS, intervalMs: ROUND_MS, sweepIntervalMs: 10 * GRACE_MS },
  });
  const open = async (options: OpenOptions = {}): Promise<Engine> => {
    const engine = await Engine.open(config, options);
    ended.push(() => engine.close());
    return engine;
  };
  const store = await openStore(config, systemRuntime, true);
  ended.push(() => store.close());
  return { open, store };
}

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
  expect((await keysOf(store)).filter((key) => !key.startsWith("index/") && !key.startsWith("checkpoint/"))).toEqual(
    before.filter((key) => !key.startsWith("index/") && !key.startsWith("checkpoint/")),
  );
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
    ...(["lost-answer", "slow-down", "internal-error"] as const).map((kind) => script.add({ match, fault: { kind } })),
    script.add({ match: { ...match, operation: "ListObjectsV2" }, fault: { kind: "truncated-answer" } }),
    script.add({ match: { ...match, operation: "DeleteObjects" }, fault: { kind: "ok-with-error", committed: true } }),
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
