import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { crc32c } from "./bytes.ts";
import { check } from "./check.ts";
import { extentAt, sealBatch, sealIndexFile, writeStore, type Planted } from "./planted.ts";

let directory: string;
let good: Planted;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "tierlog-checker-"));
  good = await writeStore(directory);
});

afterAll(async () => {
  await rm(directory, { recursive: true, force: true });
});

async function violations(store: Planted): Promise<readonly string[]> {
  const report = await check({ store: store.reader, journals: [], log: store.log, lost: new Set() });
  return report.violations;
}

test("a sound store has no violations, and all of it was looked at", async () => {
  const report = await check({ store: good.reader, journals: [], log: good.log, lost: new Set() });
  expect(report.violations).toEqual([]);
  expect(report.inChain.size).toBe(good.log.acks.size);
  expect(report.chains.map(({ epoch, released }) => ({ epoch, released }))).toEqual([
    { epoch: 2, released: true },
    { epoch: 2, released: true },
  ]);
  expect(Math.min(...report.chains.map(({ dataObjects }) => dataObjects.size))).toBeGreaterThan(0);
  expect([...good.objects.keys()].filter((key) => key.startsWith("checkpoint/")).length).toBeGreaterThan(0);
});

function flip(bytes: Buffer, at: number): void {
  bytes[at]! ^= 0x10;
}

/** The id of the record that an extent begins with. */
function firstId(bytes: Buffer, position: number): { at: number; id: string } {
  const at = bytes.indexOf("p.0", position);
  return { at, id: bytes.toString("latin1", at, at + 10) };
}

const damages: { name: string; plant: (store: Planted) => void; found: RegExp[] }[] = [
  {
    name: "a flipped bit in inline bytes",
    plant: (store) => {
      const { bytes, extent } = store.lastInline(0);
      flip(bytes, extent.position + 70);
    },
    found: [/^I3: .*CRC of the batch/, /^I1: p\.\d+, acked as uploaded/],
  },
  {
    name: "a flipped bit in a directory",
    plant: (store) => flip(store.lastInline(1).bytes, 100),
    found: [/^I3: index\/0001\/\d+\.idx: CRC of bytes 64/, /^I1/],
  },
  {
    name: "the last link with records is gone",
    plant: (store) => store.objects.delete(store.lastInline(0).link.key),
    found: [/^I1: p\.\d+, acked as uploaded .* is not in the chain/],
  },
  {
    name: "a link in the middle is gone",
    plant: (store) => store.objects.delete(store.links(0)[5]!.key),
    found: [/^I1/, /^I5: checkpoint of seq \d+ of shard 0, but the links end before 5/],
  },
  {
    name: "a data object is gone",
    plant: (store) => store.objects.delete(store.firstOutside().name),
    found: [/^I5: .* is missing/, /^I1/],
  },
  {
    name: "a data object lost its last byte",
    plant: (store) => {
      const { name, bytes } = store.firstOutside();
      store.objects.set(name, bytes.subarray(0, -1));
    },
    found: [/^I5: .* has \d+ bytes, not \d+/],
  },
  {
    name: "a flipped bit in the batches of a data object",
    plant: (store) => {
      const { bytes, extent } = store.firstOutside();
      flip(bytes, extent.position + 1000);
    },
    found: [/^I3: .*CRC of the batch/],
  },
  {
    name: "a flipped bit in a footer",
    plant: (store) => {
      const { bytes } = store.firstOutside();
      flip(bytes, bytes.length - 40);
    },
    found: [/^I3: .*footer: CRC/],
  },
  {
    name: "a footer that tells of another epoch than its link",
    plant: (store) => {
      const { bytes } = store.firstOutside();
      const footerAt = bytes.length - 32 - bytes.readUInt32BE(bytes.length - 20);
      const topics = bytes.readUInt32BE(footerAt + 16);
      bytes.writeUInt32BE(7, footerAt + 20 + 16 * topics + 4 + 8);
      bytes.writeUInt32BE(crc32c(bytes.subarray(footerAt, bytes.length - 32)), bytes.length - 8);
      bytes.writeUInt32BE(crc32c(bytes.subarray(bytes.length - 32, bytes.length - 4)), bytes.length - 4);
    },
    found: [/^I3: .*does not describe this extent/],
  },
  {
    name: "an acked link that is of the epoch before the fence",
    plant: (store) => {
      const { bytes, extent } = store.lastInline(0);
      bytes.writeUInt32BE(1, 24);
      for (let n = 0; n < 2; n++) bytes.writeUInt32BE(1, extentAt(bytes, n) + 8);
      expect(extent.leaderEpoch).toBe(2);
      sealIndexFile(bytes);
    },
    found: [/^I1: p\.\d+, acked as uploaded .* is not in the chain/],
  },
  {
    name: "a fence whose epoch is not above the one before",
    plant: (store) => {
      const fence = store.links(1).findLast((link) => link.fence !== undefined)!;
      const bytes = store.objects.get(fence.key)!;
      bytes.writeUInt32BE(1, 24);
      sealIndexFile(bytes);
    },
    found: [/^I1: p\.\d+, acked as uploaded .* is not in the chain/],
  },
  {
    name: "records of an earlier epoch committed by an owner who named no journal",
    plant: (store) => {
      const { bytes, extent } = store.lastInline(0);
      bytes.writeUInt32BE(1, extentAt(bytes, 0) + 8);
      bytes.writeUInt32BE(1, extent.position + 12);
      sealIndexFile(bytes);
    },
    found: [/^I4: .*leader epoch 1 behind 2/, /^I4: .*of epoch 1 in a link of epoch 2/, /^I1: .*stands at/],
  },
  {
    name: "a flush that was stored once more, behind the release",
    plant: (store) => {
      const { bytes, link } = store.lastInline(0);
      const links = store.links(0);
      const last = links.at(-1)!;
      expect(last.release).toBe(true);
      const again = Buffer.from(bytes);
      again.writeBigUInt64BE(BigInt(last.seq + 1), 16);
      again.write("ab".repeat(16), 64, "hex");
      again.write(last.writeId, 80, "hex");
      for (const [n, { nextOffset, position }] of link.extents.entries()) {
        again.writeBigUInt64BE(BigInt(nextOffset), extentAt(again, n) + 16);
        again.writeBigUInt64BE(BigInt(nextOffset), position);
      }
      sealIndexFile(again);
      store.objects.set(
        link.key.replace(String(link.seq).padStart(20, "0"), String(last.seq + 1).padStart(20, "0")),
        again,
      );
    },
    found: [/^I4: .*is live behind a release/, /^I2: p\.\d+ stands at .* and again at/],
  },
  {
    name: "a hole in the offsets",
    plant: (store) => {
      const { bytes, extent } = store.lastInline(1);
      bytes.writeBigUInt64BE(BigInt(extent.baseOffset + 1), extentAt(bytes, 0) + 16);
      bytes.writeBigUInt64BE(BigInt(extent.baseOffset + 1), extent.position);
      sealIndexFile(bytes);
    },
    found: [/^I3: .*but the partition ends at/],
  },
  {
    name: "two records of one producer in the wrong order",
    plant: (store) => {
      const [first, second] = store
        .links(0)
        .filter(({ extents }) => extents.length > 0 && extents.every(({ object }) => object === undefined))
        .slice(2, 4)
        .map(({ key, extents }) => ({ bytes: store.objects.get(key)!, position: extents[0]!.position }));
      const a = firstId(first!.bytes, first!.position);
      const b = firstId(second!.bytes, second!.position);
      first!.bytes.write(b.id, a.at, "latin1");
      second!.bytes.write(a.id, b.at, "latin1");
      sealBatch(first!.bytes, first!.position);
      sealBatch(second!.bytes, second!.position);
    },
    found: [/^I2: p\.\d+ stands behind p\.\d+/, /^I1: p\.\d+, acked at .* stands at/],
  },
  {
    name: "a checkpoint with another state than the links",
    plant: (store) => {
      const bytes = store.objects.get([...store.objects.keys()].find((key) => key.startsWith("checkpoint/"))!)!;
      bytes.writeBigUInt64BE(bytes.readBigUInt64BE(80) + 1n, 80);
      bytes.writeUInt32BE(crc32c(bytes.subarray(64, -4)), bytes.length - 4);
    },
    found: [/^I3: checkpoint\/.*holds another state/],
  },
  {
    name: "a flipped bit in a checkpoint",
    plant: (store) => {
      const bytes = store.objects.get([...store.objects.keys()].find((key) => key.startsWith("checkpoint/"))!)!;
      flip(bytes, bytes.length - 20);
    },
    found: [/^I3: checkpoint\/.*CRC/],
  },
  {
    name: "an ack of another epoch than that of the record",
    plant: ({ log }) => {
      const ack = [...log.acks.values()].at(-1)!;
      log.acks.set(ack.id, { ...ack, epoch: 1 });
    },
    found: [/^I1: p\.\d+, acked at .*epoch 1\), stands at .*epoch 2/],
  },
  {
    name: 'a stored record whose append failed with effect "none"',
    plant: ({ log }) => {
      const id = [...log.acks.keys()][9]!;
      log.acks.delete(id);
      log.refuse(id);
    },
    found: [/^I1: .*its append failed with effect "none"/],
  },
  {
    name: "a stored record that nobody sent",
    plant: ({ log }) => {
      const id = [...log.acks.keys()][9]!;
      log.acks.delete(id);
      log.sent.delete(id);
    },
    found: [/^I2: .*which was never sent/],
  },
];

describe("planted damage is found", () => {
  test.each(damages)("$name", async ({ plant, found }) => {
    const store = good.copy();
    plant(store);
    const all = await violations(store);
    for (const pattern of found) expect(all.filter((text) => pattern.test(text))).not.toEqual([]);
  });
});
