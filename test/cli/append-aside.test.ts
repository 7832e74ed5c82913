import { afterEach, beforeEach, describe, expect, test } from "vitest";

import { appendAside, type AppendedAside } from "../../src/cli/journal/append-aside.ts";
import type { Epoch, Offset, TopicId } from "../../src/domain.ts";
import type { PartitionApi } from "../../src/engine/api.ts";
import type { Engine } from "../../src/engine/engine.ts";
import type { Frame, FrameExtent } from "../../src/journal/frame.ts";
import { readBatchHeader } from "../../src/record/batch.ts";
import { Cluster, readAll, testConfig, values } from "../support/engine.ts";

let engine: Engine;
let clusters: Cluster[];
beforeEach(async () => {
  clusters = [];
  engine = await open();
});
afterEach(async () => {
  for (const cluster of clusters) await cluster.close();
});

async function open(): Promise<Engine> {
  const cluster = new Cluster();
  clusters.push(cluster);
  return cluster.open(testConfig({ flush: { lingerMs: 0 } }));
}

interface SetAside {
  readonly frame: Frame;
  readonly payload: Uint8Array;
}

/** The batches that another engine made of some appends, as a frame holds them. */
async function frameOf(
  sequence: number,
  extents: readonly { readonly topicId: string; readonly partition: number; readonly from: PartitionApi }[],
): Promise<SetAside> {
  const chunks: Uint8Array[] = [];
  const entries: FrameExtent[] = [];
  let position = 0;
  for (const { topicId, partition, from } of extents) {
    const { batches } = await from.read({ from: 0 });
    const headers = batches.map((batch) => readBatchHeader(batch, 0, { key: "test", position: 0 }));
    const lengthBytes = batches.reduce((sum, batch) => sum + batch.length, 0);
    entries.push({
      topicId: topicId as TopicId,
      partition,
      baseOffset: headers[0]?.baseOffset as Offset,
      nextOffset: headers.at(-1)?.nextOffset as Offset,
      position,
      lengthBytes,
      maxTimestampMs: 0,
    });
    chunks.push(...batches);
    position += lengthBytes;
  }
  const frame = { sequence, epoch: 1 as Epoch, createdAtMs: 1, extents: entries, payloadBytes: position };
  return { frame, payload: Buffer.concat(chunks) };
}

async function* inOrder(frames: readonly SetAside[]): AsyncGenerator<SetAside> {
  yield* frames;
}

function appendAll(frames: readonly SetAside[]): Promise<AppendedAside> {
  return appendAside({
    engine,
    frames: inOrder(frames),
    file: "x.jrn",
    maxPendingBytes: 1024,
    onProgress: () => undefined,
  });
}

/** A partition of another store, with batches of its own. */
async function made(...appends: string[][]): Promise<PartitionApi> {
  const other = await open();
  await other.createTopic("t", { partitions: 1, compression: "lz4" });
  const partition = (await other.topic("t")).partition(0);
  for (const append of appends) await partition.append(values(...append));
  return partition;
}

describe("what was set aside", () => {
  test("stands behind what was appended meanwhile, in its order, and the report says where", async () => {
    const { id } = await engine.createTopic("events", { partitions: 2 });
    const topic = await engine.topic("events");
    await topic.partition(1).append(values("new"));
    const first = await frameOf(1, [{ topicId: id, partition: 1, from: await made(["a", "b"], ["c"]) }]);
    const second = await frameOf(2, [
      { topicId: id, partition: 0, from: await made(["x"]) },
      { topicId: id, partition: 1, from: await made(["d"]) },
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
    const frame = await frameOf(7, [
      { topicId: gone, partition: 0, from: await made(["lost", "too"]) },
      { topicId: id, partition: 0, from: await made(["kept"]) },
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
    const good = await frameOf(1, [{ topicId: id, partition: 0, from: await made(["good"]) }]);
    const bad = await frameOf(2, [{ topicId: id, partition: 0, from: await made(["bad"]) }]);
    const flipped = Buffer.from(bad.payload);
    flipped[flipped.length - 1] = (flipped.at(-1) ?? 0) ^ 1;
    await expect(appendAll([good, { ...bad, payload: flipped }])).rejects.toMatchObject({
      code: "TIERLOG_CORRUPTION",
      key: "x.jrn, frame 2",
    });
    await expect(readAll((await engine.topic("events")).partition(0))).resolves.toEqual(["good"]);
  });

  test("is refused as a whole where the engine cannot append", async () => {
    const { id } = await engine.createTopic("events", { partitions: 1 });
    const frame = await frameOf(1, [{ topicId: id, partition: 0, from: await made(["a".repeat(3000)]) }]);
    const small = await new Cluster(clusters[0]?.store).open(
      testConfig({ batch: { maxBytes: 8 }, flush: { lingerMs: 0 } }),
    );
    engine = small;
    await expect(appendAll([frame])).rejects.toMatchObject({ code: "TIERLOG_RECORD_TOO_LARGE" });
    await small.close();
  });
});
