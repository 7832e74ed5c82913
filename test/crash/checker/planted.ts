import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

import { loadConfig } from "../../../src/config/load-config.ts";
import { Engine } from "../../../src/engine/engine.ts";
import { AckLog } from "./ack-log.ts";
import { crc32c } from "./bytes.ts";
import { decodeIndexFile, type Link, type LinkExtent } from "./index-file.ts";
import type { StoreReader } from "./store-reader.ts";

/** A store in memory that a test may damage, with what its producers were told. */
export class Planted {
  readonly objects: Map<string, Buffer>;
  readonly log: AckLog;

  constructor(objects: ReadonlyMap<string, Buffer>, log: AckLog) {
    this.objects = new Map([...objects].map(([key, bytes]) => [key, Buffer.from(bytes)]));
    this.log = new AckLog();
    for (const [id, name] of log.sent) this.log.sent.set(id, name);
    for (const ack of log.acks.values()) this.log.acks.set(ack.id, ack);
  }

  get reader(): StoreReader {
    return {
      get: (key) => Promise.resolve(this.objects.get(key)),
      list: (prefix) => Promise.resolve([...this.objects.keys()].filter((key) => key.startsWith(prefix)).sort()),
    };
  }

  copy(): Planted {
    return new Planted(this.objects, this.log);
  }

  /** Links of a shard, in order. */
  links(shard: number): Link[] {
    const prefix = `index/${String(shard).padStart(4, "0")}/`;
    const keys = [...this.objects.keys()].filter((key) => key.startsWith(prefix)).sort();
    return keys.map((key, seq) => decodeIndexFile(this.objects.get(key)!, shard, seq));
  }

  /** The last link with an inline extent, and that extent. */
  lastInline(shard: number): { link: Link; extent: LinkExtent; bytes: Buffer } {
    const link = this.links(shard).findLast(({ extents }) => extents.some(({ object }) => object === undefined))!;
    return {
      link,
      extent: link.extents.find(({ object }) => object === undefined)!,
      bytes: this.objects.get(link.key)!,
    };
  }

  /** An extent in a data object. */
  firstOutside(): { extent: LinkExtent; name: string; bytes: Buffer } {
    for (const shard of [0, 1]) {
      for (const { extents } of this.links(shard)) {
        const extent = extents.find(({ object }) => object !== undefined);
        if (extent?.object) return { extent, name: extent.object.name, bytes: this.objects.get(extent.object.name)! };
      }
    }
    throw new Error("no data object");
  }
}

/** Makes header and directory of an index file right again after a change. */
export function sealIndexFile(bytes: Buffer): void {
  const end = 64 + bytes.readUInt32BE(28);
  bytes.writeUInt32BE(crc32c(bytes.subarray(0, 60)), 60);
  bytes.writeUInt32BE(crc32c(bytes.subarray(64, end - 4)), end - 4);
}

/** Makes the CRC of the batch at `at` right again. */
export function sealBatch(bytes: Buffer, at: number): void {
  bytes.writeUInt32BE(crc32c(bytes.subarray(at + 21, at + 12 + bytes.readUInt32BE(at + 8))), at + 17);
}

/** Where the 48 bytes of the nth extent of a link with one append entry and no data objects stand. */
export function extentAt(bytes: Buffer, extent: number): number {
  const entry = 64 + 32 + 2 + bytes.readUInt16BE(96) + 8 + 4;
  const topics = bytes.readUInt32BE(entry + 5);
  return entry + 5 + 4 + 16 * topics + 4 + 4 + 48 * extent;
}

const SETTINGS = `
[system]
shards = 2
[system.storage]
kind = "fs"
[system.storage.object]
multipart_part_size = "5 MiB"
[system.flush]
linger = "0ms"
[system.index]
checkpoint_every = 16
`;

/** A store that an engine wrote in two turns, with small flushes, large ones and checkpoints. */
export async function writeStore(directory: string): Promise<Planted> {
  const { config } = await loadConfig({
    file: "c.toml",
    env: {},
    cwd: directory,
    readText: () => Promise.resolve(SETTINGS),
  });
  const log = new AckLog();
  let next = 0;
  for (const turn of [0, 1]) {
    const engine = await Engine.open(config);
    if (turn === 0) await engine.createTopic("crash", { partitions: 4 });
    const topic = await engine.topic("crash");
    const { id: topicId } = topic.description;
    const append = async (partition: number, size: number): Promise<void> => {
      const id = `p.${String(next++).padStart(8, "0")}`;
      log.send(id, topicId, partition);
      const value = Buffer.concat([Buffer.from(`${id} `), Buffer.alloc(size, "x")]);
      const { firstOffset: offset, level, epoch } = await topic.partition(partition).append([{ value }]);
      log.ack({ id, topicId, partition, level, offset, epoch });
    };
    for (let i = 0; i < 20; i++) await Promise.all([0, 1, 2, 3].map((partition) => append(partition, 20)));
    await Promise.all(Array.from({ length: 28 }, (_, i) => append(i % 4, 500_000)));
    for (let i = 0; i < 3; i++) await Promise.all([0, 1, 2, 3].map((partition) => append(partition, 20)));
    await engine.close();
  }
  const root = join(directory, "tierlog-data", "store");
  const objects = new Map<string, Buffer>();
  for (const entry of await readdir(root, { withFileTypes: true, recursive: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile()) objects.set(path.slice(root.length + 1), await readFile(path));
  }
  return new Planted(objects, log);
}
