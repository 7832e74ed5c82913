import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { appendAside, type AppendedAside } from "../../src/cli/journal/append-aside.ts";
import type { Engine } from "../../src/engine/engine.ts";
import { Cluster, readAll, testConfig, values } from "../support/engine.ts";
import { BatchMaker, withPayload, type MadeFrame } from "../support/frames.ts";

let engine: Engine;
let cluster: Cluster;
let maker: BatchMaker;
beforeEach(async () => {
  cluster = new Cluster();
  maker = new BatchMaker();
  engine = await cluster.open(testConfig({ flush: { lingerMs: 0 } }));
});
afterEach(async () => {
  await cluster.close();
  await maker.close();
});

async function* inOrder(frames: readonly MadeFrame[]): AsyncGenerator<ReturnType<typeof withPayload>> {
  for (const frame of frames) yield withPayload(frame);
}

function appendAll(frames: readonly MadeFrame[]): Promise<AppendedAside> {
  return appendAside({
    engine,
    frames: inOrder(frames),
    file: "x.jrn",
    maxPendingBytes: 1024,
    onProgress: () => undefined,
  });
}

describe("what was set aside", () => {
  test("stands behind what was appended meanwhile, in its order, and the report says where", async () => {
    const { id } = await engine.createTopic("events", { partitions: 2 });
    const topic = await engine.topic("events");
    await topic.partition(1).append(values("new"));
    const first = await maker.frame(1, [{ topicId: id, partition: 1, appends: [["a", "b"], ["c"]] }]);
    const second = await maker.frame(2, [
      { topicId: id, partition: 0, appends: [["x"]] },
      { topicId: id, partition: 1, appends: [["d"]] },
    ]);
    const report = await appendAll([first, second]);
    expect(report).toMatchObject({ records: 5, skipped: [] });
    expect(report.partitions.toSorted((a, b) => a.partition - b.partition)).toMatchObject([
      { topicId: id, partition: 0, firstOffset: 0, nextOffset: 1 },
      { topicId: id, partition: 1, firstOffset: 1, nextOffset: 5 },
    ]);
    await expect(readAll(topic.partition(1))).resolves.toEqual(["new", "a", "b", "c", "d"]);
    await expect(readAll(topic.partition(0))).resolves.toEqual(["x"]);
  });

  test("of a topic that is gone is named and left out; one made anew under its name is another", async () => {
    const { id: gone } = await engine.createTopic("events", { partitions: 1 });
    await engine.deleteTopic("events");
    const { id } = await engine.createTopic("events", { partitions: 1 });
    const frame = await maker.frame(7, [
      { topicId: gone, partition: 0, appends: [["lost", "too"]] },
      { topicId: id, partition: 0, appends: [["kept"]] },
    ]);
    const report = await appendAll([frame]);
    expect(report).toMatchObject({
      records: 1,
      skipped: [{ topicId: gone, partition: 0, firstOffset: 0, nextOffset: 2, epochs: [1] }],
    });
    await expect(readAll((await engine.topic("events")).partition(0))).resolves.toEqual(["kept"]);
  });

  test("is checked: a batch that is damaged is not appended, and what stands before it is", async () => {
    const { id } = await engine.createTopic("events", { partitions: 1 });
    const good = await maker.frame(1, [{ topicId: id, partition: 0, appends: [["good"]] }]);
    const bad = await maker.frame(2, [{ topicId: id, partition: 0, appends: [["bad"]] }]);
    const flipped = Buffer.concat(bad.chunks);
    flipped[flipped.length - 1] = (flipped.at(-1) ?? 0) ^ 1;
    await expect(appendAll([good, { ...bad, chunks: [flipped] }])).rejects.toMatchObject({
      code: "TIERLOG_CORRUPTION",
      key: "x.jrn, frame 2",
    });
    await expect(readAll((await engine.topic("events")).partition(0))).resolves.toEqual(["good"]);
  });

  test("is refused as a whole where the engine cannot append", async () => {
    const { id } = await engine.createTopic("events", { partitions: 1 });
    const frame = await maker.frame(1, [{ topicId: id, partition: 0, appends: [["a".repeat(3000)]] }]);
    engine = await cluster.open(testConfig({ batch: { maxBytes: 8 }, flush: { lingerMs: 0 } }));
    await expect(appendAll([frame])).rejects.toMatchObject({ code: "TIERLOG_RECORD_TOO_LARGE" });
  });
});
