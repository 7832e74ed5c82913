import { afterEach, beforeEach, describe, expect, test } from "vitest";

import type { Config } from "../../src/config/config.ts";
import type { PartitionApi } from "../../src/engine/api.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { createMemoryStore } from "../../src/object-store/memory-store.ts";
import { Cluster, readAll, testConfig, values } from "../support/engine.ts";
import { FaultyStore } from "./faulty-store.ts";

/** DESIGN rules 3 to 5 as an embedder meets them: what each append is told, and what readers then see. */

let faulty: FaultyStore;
let cluster: Cluster;
let engine: Engine;
let partition: PartitionApi;

const DEADLINE_MS = 500;

function config(overrides: { multipartPartSizeBytes?: number; lingerMs?: number } = {}): Config {
  const { multipartPartSizeBytes = 8 * 1024 * 1024, lingerMs = 2 } = overrides;
  return testConfig({
    storage: { object: { deadlineMs: DEADLINE_MS, requestTimeoutMs: 400, multipartPartSizeBytes } },
    flush: { lingerMs },
    batch: { maxBytes: 4096 },
  });
}

async function open(overrides: Parameters<typeof config>[0] = {}): Promise<void> {
  engine = await cluster.open(config(overrides));
  await engine.createTopic("events", { partitions: 2 });
  partition = (await engine.topic("events")).partition(0);
}

async function stored(): Promise<string[]> {
  const reader = await cluster.open(config(), { readOnly: true });
  return readAll((await reader.topic("events")).partition(0));
}

beforeEach(() => {
  faulty = new FaultyStore(createMemoryStore());
  cluster = new Cluster(faulty.store);
});

afterEach(async () => {
  faulty.fate = () => "pass";
  faulty.release();
  await cluster.close();
});

describe("an append whose link got no answer", () => {
  test("F01: stored, answer lost: acknowledged once, stored once", async () => {
    await open();
    await partition.append(values("a"));
    let lost = 0;
    faulty.fate = () => (lost++ === 0 ? "lost-after" : "pass");
    await expect(partition.append(values("b"))).resolves.toMatchObject({ firstOffset: 1, nextOffset: 2 });
    await partition.append(values("c"));
    expect(await stored()).toEqual(["a", "b", "c"]);
  });

  test("F02: not stored: sent again, acknowledged once", async () => {
    await open();
    let lost = 0;
    faulty.fate = () => (lost++ < 2 ? "lost-before" : "pass");
    await expect(partition.append(values("a"))).resolves.toMatchObject({ firstOffset: 0 });
    expect(await stored()).toEqual(["a"]);
  });

  test("past the deadline: effect unknown for what was sent, none for what waited behind it; then the shard takes over from itself", async () => {
    await open();
    await partition.append(values("a"));
    faulty.fate = () => "lost-before";
    faulty.hold();
    const sent = partition.append(values("b"));
    await until(() => faulty.puts === 3);
    const behind = partition.append(values("c"));
    faulty.release();
    await expect(sent).rejects.toMatchObject({
      code: "TIERLOG_OBJECT_STORE",
      kind: "unavailable",
      effect: "unknown",
      exitCode: 75,
    });
    await expect(behind).rejects.toMatchObject({ code: "TIERLOG_OBJECT_STORE", effect: "none" });
    faulty.fate = () => "pass";
    await expect(partition.append(values("d"))).resolves.toMatchObject({ firstOffset: 1, epoch: 2 });
    expect(await stored()).toEqual(["a", "d"]);
    expect(engine.metrics().pendingBytes).toBe(0);
  });

  test("past the deadline, but stored: the record is there once, and offsets go on behind it", async () => {
    await open();
    await partition.append(values("a"));
    faulty.fate = () => "lost-after";
    faulty.readsFail = true;
    await expect(partition.append(values("b"))).rejects.toMatchObject({ effect: "unknown" });
    faulty.fate = () => "pass";
    faulty.readsFail = false;
    await expect(partition.append(values("c"))).resolves.toMatchObject({ firstOffset: 2, epoch: 2 });
    expect(await stored()).toEqual(["a", "b", "c"]);
  });

  test("surely not sent until the deadline: effect none, and the shard stays ours", async () => {
    await open();
    await partition.append(values("a"));
    faulty.fate = () => "refused";
    await expect(partition.append(values("b"))).rejects.toMatchObject({ code: "TIERLOG_OBJECT_STORE", effect: "none" });
    faulty.fate = () => "pass";
    await expect(partition.append(values("c"))).resolves.toMatchObject({ firstOffset: 1, epoch: 1 });
    expect(await stored()).toEqual(["a", "c"]);
  });

  test("refused for good: the error comes at once, not at the deadline", async () => {
    await open();
    faulty.fate = () => "forbidden";
    await expect(partition.append(values("a"))).rejects.toMatchObject({ status: 403, effect: "none", attempts: 1 });
  });
});

describe("an append to a topic over several shards", () => {
  test.each([
    ["one shard stored its part: unknown", "pass", "unknown"],
    ["every shard refused: none", "forbidden", "none"],
  ] as const)("%s", async (_, other, effect) => {
    engine = await cluster.open({ ...config(), shards: 2 });
    const { shards } = await engine.createTopic("events", { partitions: 2 });
    const topic = await engine.topic("events");
    await Promise.all([0, 1].map((i) => topic.partition(i).append(values("a"))));
    faulty.fate = (key) => (key.startsWith(`index/000${shards[0]}/`) ? "forbidden" : other);
    const records = Array.from({ length: 20 }, (_, i) => ({ key: Buffer.from(`k${i}`), value: Buffer.from("v") }));
    await expect(topic.append(records)).rejects.toMatchObject({ code: "TIERLOG_OBJECT_STORE", status: 403, effect });
  });
});

describe("losing the shard", () => {
  test("everything that waits fails with FencedError, effect none, and nothing of it is stored", async () => {
    await open();
    await partition.append(values("a"));
    faulty.hold();
    const sent = partition.append(values("b"));
    await until(() => faulty.puts === 3);
    const behind = partition.append(values("c"));
    const taker = new Cluster(cluster.store);
    faulty.release();
    await sent;
    await behind;
    const other = await taker.open(config());
    await (await other.topic("events")).partition(0).append(values("theirs"));
    const late = [partition.append(values("d")), partition.append(values("e"))];
    for (const append of late) await expect(append).rejects.toMatchObject({ code: "TIERLOG_FENCED", effect: "none" });
    expect(await stored()).toEqual(["a", "b", "c", "theirs"]);
    await taker.close();
  });

  test("close does not hang on a shard that was lost, and tells it", async () => {
    await open({ lingerMs: 60_000 });
    const first = partition.append(values("a"));
    await engine.flush();
    await first;
    const taker = await cluster.open(config());
    await (await taker.topic("events")).partition(0).append(values("theirs"));
    const pending = partition.append(values("b"));
    const [append, close] = await Promise.allSettled([pending, engine.close()]);
    expect(append).toMatchObject({ status: "rejected", reason: { code: "TIERLOG_FENCED" } });
    expect(close).toMatchObject({ status: "rejected", reason: { code: "TIERLOG_FENCED" } });
  });
});

describe("F49: append and close at once", () => {
  test("every append is acknowledged and stored, or refused and not stored", async () => {
    await open();
    const appends = Array.from({ length: 50 }, (_, i) => partition.append(values(`r${i}`)));
    const closing = engine.close();
    const late = Array.from({ length: 10 }, () => partition.append(values("late")));
    const outcomes = await Promise.allSettled([...appends, ...late]);
    await closing;
    expect(outcomes.filter((outcome) => outcome.status === "fulfilled")).toHaveLength(50);
    expect(await stored()).toEqual(Array.from({ length: 50 }, (_, i) => `r${i}`));
  });
});

describe("a damaged link", () => {
  test("stops writers, while readers read up to it", async () => {
    await open();
    for (const text of ["a", "b", "c"]) await partition.append(values(text));
    await engine.close();
    const keys = [];
    for await (const { key } of cluster.store.list("index/")) keys.push(key);
    const target = keys[3];
    if (target === undefined) throw new Error("no link");
    const body = Uint8Array.from((await cluster.store.get(target))?.body ?? []);
    body[100] = (body[100] ?? 0) ^ 1;
    await cluster.store.put(target, body, { condition: { kind: "none" } });

    const reader = (await (await cluster.open(config(), { readOnly: true })).topic("events")).partition(0);
    const seen: string[] = [];
    const reading = (async () => {
      for await (const record of reader.records({ from: 0 })) seen.push(Buffer.from(record.value ?? []).toString());
    })();
    await expect(reading).rejects.toMatchObject({ code: "TIERLOG_CORRUPTION", key: target, exitCode: 65 });
    expect(seen).toEqual(["a", "b"]);
    const writer = (await (await cluster.open(config())).topic("events")).partition(0);
    await expect(writer.append(values("d"))).rejects.toMatchObject({ code: "TIERLOG_CORRUPTION", effect: "none" });
  });

  test("I3: a flipped byte of a record is never served; the error names object and position, other partitions stay readable", async () => {
    await open();
    const other = (await engine.topic("events")).partition(1);
    await Promise.all([partition.append(values("damaged")), other.append(values("whole"))]);
    await engine.close();
    const key = "index/0000/00000000000000000001.idx";
    let target;
    for await (const info of cluster.store.list("index/")) if (info.key === key) target = info.key;
    if (target === undefined) throw new Error("no link");
    const body = Buffer.from((await cluster.store.get(target))?.body ?? []);
    body[body.indexOf("damaged")] = 0x44;
    await cluster.store.put(target, body, { condition: { kind: "none" } });
    const reader = await (await cluster.open(config(), { readOnly: true })).topic("events");
    await expect(readAll(reader.partition(0))).rejects.toMatchObject({ code: "TIERLOG_CORRUPTION", key });
    expect(await readAll(reader.partition(1))).toEqual(["whole"]);
  });
});

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 1));
}
