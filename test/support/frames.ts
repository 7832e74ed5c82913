import type { Epoch, Offset, TopicId } from "../../src/domain.ts";
import type { PartitionApi } from "../../src/engine/api.ts";
import type { Frame, FrameExtent, FrameInput } from "../../src/journal/frame.ts";
import { readBatchHeader } from "../../src/record/batch.ts";
import { Cluster, testConfig, values } from "./engine.ts";

/** A frame with its payload in pieces. */
export interface MadeFrame extends FrameInput {
  readonly sequence: number;
}

/** As `readAside` gives it. */
export function withPayload({ chunks, ...frame }: MadeFrame): { frame: Frame; payload: Uint8Array } {
  return { frame, payload: Buffer.concat(chunks) };
}

/** Stores that make batches: each `batches` is what some appends to a new partition became, offsets from 0, epoch 1. */
export class BatchMaker {
  readonly #clusters: Cluster[] = [];

  async batches(...appends: readonly string[][]): Promise<PartitionApi> {
    const cluster = new Cluster();
    this.#clusters.push(cluster);
    const engine = await cluster.open(testConfig({ flush: { lingerMs: 0 } }));
    await engine.createTopic("t", { partitions: 1, compression: "lz4" });
    const partition = (await engine.topic("t")).partition(0);
    for (const append of appends) await partition.append(values(...append));
    return partition;
  }

  /** A frame of one extent for each of `extents`. */
  async frame(
    sequence: number,
    extents: readonly { readonly topicId: string; readonly partition: number; readonly appends: string[][] }[],
  ): Promise<MadeFrame> {
    const chunks: Uint8Array[] = [];
    const entries: FrameExtent[] = [];
    let position = 0;
    for (const { topicId, partition, appends } of extents) {
      const { batches } = await (await this.batches(...appends)).read({ from: 0 });
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
    return { sequence, epoch: 1 as Epoch, createdAtMs: 1, extents: entries, chunks, payloadBytes: position };
  }

  async close(): Promise<void> {
    for (const cluster of this.#clusters) await cluster.close();
  }
}
