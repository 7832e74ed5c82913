import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";

import type { Config } from "../../src/config/config.ts";
import { defaultConfig } from "../../src/config/resolve-config.ts";
import type { ObjectKey } from "../../src/domain.ts";
import { Engine, type OpenOptions } from "../../src/engine/engine.ts";
import { ObjectStoreError, isTierlogError } from "../../src/errors.ts";
import { createS3Store } from "../../src/object-store/s3-store.ts";
import { settling } from "../../src/object-store/settling.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";
import { CephGateway } from "../support/ceph-gateway.ts";
import { readAll, values } from "../support/engine.ts";
import { describeCeph, freshPrefix } from "../support/s3.ts";
import { Ledger } from "./ledger.ts";

/** Answers that a real server does not give in time: its OSD is stopped in the middle of a request, or the gateway is killed. */
describeCeph("a Ceph that stops and goes on", () => {
  let ceph: CephGateway;
  let prefix: string;
  let engines: Engine[];

  beforeAll(async () => {
    ceph = await CephGateway.start();
  });

  afterAll(() => ceph.stop());

  beforeEach(() => {
    prefix = freshPrefix();
    engines = [];
  });

  afterEach(async () => {
    ceph.resumeOsd();
    await Promise.allSettled(engines.map((engine) => engine.close()));
  });

  function config(object: Partial<Config["storage"]["object"]>): Config {
    const { endpoint, bucket, region, accessKeyId, secretAccessKey } = ceph.connection;
    return defaultConfig({
      storage: {
        kind: "object",
        object: { endpoint, bucket, region, prefix, credentials: { accessKeyId, secretAccessKey }, ...object },
      },
      flush: { lingerMs: 5 },
    });
  }

  async function open(settings: Config, options: OpenOptions = {}): Promise<Engine> {
    const engine = await Engine.open(settings, options);
    engines.push(engine);
    return engine;
  }

  const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

  test("a conditional PUT that the client gave up exists all the same when the OSD goes on, and is settled as ours", async () => {
    const { accessKeyId, secretAccessKey, ...server } = ceph.connection;
    const raw = createS3Store(
      {
        ...server,
        prefix,
        credentials: { accessKeyId, secretAccessKey },
        forcePathStyle: true,
        requestTimeoutMs: 700,
        maxSockets: 8,
      },
      systemRuntime,
    );
    const key = "settled" as ObjectKey;
    const body = Buffer.from("the same bytes");
    await raw.put("warm" as ObjectKey, body, { condition: { kind: "none" } });
    ceph.pauseOsd();
    const failure = await raw.put(key, body, { condition: { kind: "if-absent" } }).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(ObjectStoreError);
    expect(failure).toMatchObject({ effect: "unknown", retryable: true });

    ceph.resumeOsd();
    let found = await raw.get(key);
    for (let i = 0; i < 100 && found === undefined; i++) {
      await pause(50);
      found = await raw.get(key);
    }
    expect(Buffer.from(found?.body ?? []).toString()).toBe("the same bytes");

    const settled = settling(raw, { ...systemRuntime, deadlineMs: 20_000, requestTimeoutMs: 700 });
    const create = (bytes: Uint8Array): Promise<unknown> =>
      settled.put(key, bytes, { condition: { kind: "if-absent" } });
    await expect(create(body)).resolves.toMatchObject({ kind: "written" });
    await expect(create(Buffer.from("other bytes!!!"))).resolves.toEqual({ kind: "condition-failed" });
    expect(Buffer.from((await raw.get(key))?.body ?? []).toString()).toBe("the same bytes");
    await raw.close();
  });

  test("a pause within the deadline costs time only: everything is acked, once and in order", async () => {
    const engine = await open(config({ requestTimeoutMs: 500, deadlineMs: 30_000 }));
    await engine.createTopic("events", { partitions: 3 });
    const ledger = new Ledger();
    let over = false;
    const produced = ledger.produce(await engine.topic("events"), { producers: 8, goOn: () => !over });
    for (let i = 0; i < 2; i++) {
      await pause(400);
      ceph.pauseOsd();
      await pause(1700);
      ceph.resumeOsd();
    }
    await pause(1000);
    over = true;
    await produced;
    const counts = await ledger.check(await open(config({}), { readOnly: true }), "events");
    expect(counts).toMatchObject({ unknown: 0, none: 0 });
    expect(counts.acked).toBeGreaterThan(100);
  });

  test("past the deadline what was sent fails with effect unknown, what waited behind it with none; then the shard is taken over again", async () => {
    const settings = config({ requestTimeoutMs: 400, deadlineMs: 1500 });
    const engine = await open(settings);
    await engine.createTopic("events", { partitions: 1 });
    const partition = (await engine.topic("events")).partition(0);
    await partition.append(values("first"));
    expect((await partition.inspect()).epoch).toBe(1);

    ceph.pauseOsd();
    const told = (append: Promise<unknown>): Promise<string> =>
      append.then(
        () => "acked",
        (error: unknown) => (isTierlogError(error) ? `${error.kind} ${error.effect}` : String(error)),
      );
    const sent = told(partition.append(values("sent")));
    await pause(300);
    const behind = told(partition.append(values("behind")));
    expect(await sent).toBe("unavailable unknown");
    expect(await behind).toBe("unavailable none");

    ceph.resumeOsd();
    const receipt = await partition.append(values("after"));
    expect((await partition.inspect()).epoch).toBeGreaterThan(1);
    const stored = await readAll((await (await open(settings, { readOnly: true })).topic("events")).partition(0));
    expect(stored.filter((value) => value !== "sent")).toEqual(["first", "after"]);
    expect(stored.indexOf("after")).toBe(receipt.firstOffset);
  });

  test("a gateway killed and started again under load: nothing acked is lost, and the engine goes on by itself", async () => {
    const settings = config({ requestTimeoutMs: 1000, deadlineMs: 30_000 });
    const engine = await open(settings);
    await engine.createTopic("events", { partitions: 3 });
    const ledger = new Ledger();
    let over = false;
    const produced = ledger.produce(await engine.topic("events"), {
      producers: 8,
      goOn: () => !over,
      valueBytes: 20_000,
    });
    await pause(500);
    for (let i = 0; i < 2; i++) {
      ceph.killGateway();
      const before = ledger.acked;
      await pause(700);
      ceph.startGateway();
      await until(() => ledger.acked > before + 20);
    }
    over = true;
    await produced;
    const counts = await ledger.check(await open(settings, { readOnly: true }), "events");
    expect(counts).toMatchObject({ unknown: 0, none: 0 });
    expect((await (await engine.topic("events")).partition(0).inspect()).epoch).toBe(1);
  });

  async function until(condition: () => boolean): Promise<void> {
    for (let i = 0; i < 600 && !condition(); i++) await pause(50);
    if (!condition()) throw new Error("waited for 30 s");
  }
});
