import { afterEach, expect, test } from "vitest";

import { defaultConfig } from "../../src/config/resolve-config.ts";
import { Engine } from "../../src/engine/engine.ts";
import { isTierlogError } from "../../src/errors.ts";
import { FaultScript } from "../../src/testing/fault-script.ts";
import { S3Proxy } from "../../src/testing/s3-proxy.ts";
import { describeS3, freshPrefix, s3Settings } from "../support/s3.ts";
import { Ledger } from "./ledger.ts";

const OUTAGE_MS = Number(process.env["TIERLOG_TEST_OUTAGE_SECONDS"] ?? 60) * 1000;
const MIB = 1024 * 1024;
const MAX_PENDING_BYTES = 8 * MIB;

/** I1, I2, I6 with the shipped timeouts: a store that is away for as long as the deadline of one operation, under load. */
describeS3("a minute without a store, under load", () => {
  let proxy: S3Proxy;
  const engines: Engine[] = [];

  afterEach(async () => {
    await Promise.allSettled(engines.splice(0).map((engine) => engine.close()));
    await proxy.close();
  });

  test.each([
    { name: "total outage", begin: () => proxy.goDown(), end: () => proxy.comeUp() },
    {
      name: "503 storm",
      begin: async (faults: FaultScript) => {
        faults.add({ fault: { kind: "slow-down" } });
      },
      end: async (faults: FaultScript) => faults.clear(),
    },
  ])(
    "F10, F11 $name: nothing acked is lost, memory stays bounded, and it goes on by itself",
    async ({ begin, end }) => {
      const settings = s3Settings(freshPrefix());
      const faults = new FaultScript();
      proxy = await S3Proxy.start({ target: settings.endpoint ?? "", faults });
      const { bucket, region, prefix, credentials } = settings;
      const { accessKeyId, secretAccessKey } = credentials;
      const config = defaultConfig({
        storage: {
          kind: "object",
          object: { endpoint: proxy.url, bucket, region, prefix, credentials: { accessKeyId, secretAccessKey } },
        },
        flush: { lingerMs: 20, maxBytes: 2 * MIB, maxPendingBytes: MAX_PENDING_BYTES },
      });
      const open = async (readOnly: boolean): Promise<Engine> => {
        const engine = await Engine.open(config, { readOnly });
        engines.push(engine);
        return engine;
      };
      const engine = await open(false);
      await engine.createTopic("events", { partitions: 8 });
      const topic = await engine.topic("events");

      const ledger = new Ledger();
      let over = false;
      const codes = new Map<string, number>();
      // More than max_pending: some of them have to wait for room, and are refused in the end.
      const produced = ledger.produce(topic, {
        producers: 500,
        valueBytes: 20_000,
        goOn: () => !over,
        onError: (error) => {
          const code = isTierlogError(error) ? `${error.code} ${error.effect}` : String(error);
          codes.set(code, (codes.get(code) ?? 0) + 1);
          return "go-on";
        },
      });
      let pendingBytes = 0;
      let externalBytes = 0;
      const watch = setInterval(() => {
        pendingBytes = Math.max(pendingBytes, engine.metrics().pendingBytes);
        externalBytes = Math.max(externalBytes, process.memoryUsage().external);
      }, 100);
      await until(() => ledger.acked > 1000);
      const externalBefore = externalBytes;
      externalBytes = 0;

      await begin(faults);
      await pause(500);
      const during = ledger.acked;
      await pause(OUTAGE_MS - 500);
      expect(ledger.acked).toBe(during);
      await end(faults);
      const endedAt = performance.now();
      await until(() => ledger.acked > during + 1000);
      const recoveredMs = performance.now() - endedAt;
      over = true;
      await produced;
      clearInterval(watch);

      const counts = await ledger.check(await open(true), "events");
      console.log(
        `${OUTAGE_MS / 1000} s: ${JSON.stringify(counts)}, errors ${JSON.stringify(Object.fromEntries(codes))}, ` +
          `1,000 acks ${Math.round(recoveredMs)} ms after its end, at most ${(pendingBytes / MIB).toFixed(1)} MiB pending, ` +
          `memory outside the heap ${(externalBefore / MIB).toFixed(0)} → ${(externalBytes / MIB).toFixed(0)} MiB`,
      );
      expect(pendingBytes).toBeLessThanOrEqual(MAX_PENDING_BYTES);
      expect(externalBytes).toBeLessThan(externalBefore + 64 * MIB);
      expect(engine.metrics().pendingBytes).toBe(0);
      for (const code of codes.keys()) expect(code).toMatch(/^TIERLOG_(OVERLOADED none|OBJECT_STORE (none|unknown))$/);
    },
  );

  const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

  async function until(condition: () => boolean): Promise<void> {
    for (let i = 0; i < 600 && !condition(); i++) await pause(100);
    if (!condition()) throw new Error("waited for 60 s");
  }
});
