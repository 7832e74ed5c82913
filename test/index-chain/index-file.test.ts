import { readFileSync } from "node:fs";

import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import {
  partitionKey,
  type Epoch,
  type ObjectKey,
  type Offset,
  type Seq,
  type ShardId,
  type TopicId,
} from "../../src/domain.ts";
import { isTierlogError, type CorruptionError } from "../../src/errors.ts";
import {
  decodeLink,
  decodeLinkHeader,
  encodeLink,
  HEADER_BYTES,
  linkOverheadBytes,
  type Link,
} from "../../src/index-chain/index-file.ts";
import { entryBytes, type LinkEntry, type LinkExtent, type LinkRange } from "../../src/index-chain/link-entries.ts";
import { checkKey } from "../../src/object-store/object-key.ts";
import { dataKey, indexKey } from "../../src/object-store/object-names.ts";
import { crc32c } from "../../src/record/crc32c.ts";
import { appendDraft, extent, fenceDraft, PARTITION, SHARD, TOPIC, writeId } from "./links.ts";

const KEY = indexKey(SHARD, 1 as Seq);
const OTHER_TOPIC = "fedcba9876543210".repeat(2) as TopicId;

function decode(bytes: Uint8Array, key: ObjectKey = KEY, seq = 1): Link {
  return decodeLink(bytes, decodeLinkHeader(bytes, key, SHARD, seq as Seq), bytes.length, key);
}

/** The link of the worked example in docs/index-file-format.md. */
const EXAMPLE = {
  shard: SHARD,
  seq: 1 as Seq,
  epoch: 1 as Epoch,
  writeId: writeId("second link"),
  prev: writeId("first link"),
  writerId: "host:42:beef",
  createdAtMs: 1_700_000_000_000,
  entries: [
    {
      type: "append" as const,
      objects: [],
      extents: [extent(0, 3, 1, 0, 5), { ...extent(7, 8, 1, 5, 6), partition: 2 }],
    },
  ],
};
const EXAMPLE_PAYLOAD = [Buffer.from("hello"), Buffer.from("world!")];

/** One link for three flushes: two went into data objects, one rides along inline. */
const OBJECTS_EXAMPLE = {
  ...EXAMPLE,
  epoch: 3 as Epoch,
  entries: [
    {
      type: "append" as const,
      objects: [
        { key: dataKey(SHARD, 3 as Epoch, 0, "4f00112233445566"), sizeBytes: 9_000_000 },
        { key: dataKey(SHARD, 3 as Epoch, 1, "c38899aabbccddee"), sizeBytes: 2 ** 32 + 4096 },
      ],
      extents: [
        { ...extent(0, 100, 3, 0, 6_000_000), object: 1 },
        { ...extent(0, 50, 3, 6_000_000, 2_999_000), partition: 2, object: 1 },
        { ...extent(100, 101, 3, 2 ** 32, 4000), topicId: OTHER_TOPIC, object: 2 },
        { ...extent(100, 103, 3, 0, 5) },
        { ...extent(50, 51, 3, 5, 6), partition: 2 },
      ],
    },
  ],
};

/** The starts of three partitions move, one of them of another topic. */
const TRIM_EXAMPLE = {
  ...EXAMPLE,
  entries: [
    {
      type: "trim" as const,
      trims: [
        { ...PARTITION, oldStart: 0 as Offset, newStart: 3 as Offset },
        { ...PARTITION, partition: 2, oldStart: 7 as Offset, newStart: 4_294_967_300 as Offset },
        { topicId: OTHER_TOPIC, partition: 0, oldStart: 100 as Offset, newStart: 101 as Offset },
      ],
    },
  ],
};

/** Four extents of two partitions become three, in two data objects. */
const REPLACE_EXAMPLE = {
  ...EXAMPLE,
  epoch: 3 as Epoch,
  entries: [
    {
      type: "replace" as const,
      objects: [
        { key: dataKey(SHARD, 3 as Epoch, 0, "4f00112233445566"), sizeBytes: 9_000_000 },
        { key: dataKey(SHARD, 3 as Epoch, 1, "c38899aabbccddee"), sizeBytes: 2 ** 32 + 4096 },
      ],
      ranges: [
        { ...PARTITION, baseOffset: 0 as Offset, nextOffset: 150 as Offset, count: 3 },
        { topicId: OTHER_TOPIC, partition: 2, baseOffset: 100 as Offset, nextOffset: 101 as Offset, count: 1 },
      ],
      superseded: "5a".repeat(16),
      extents: [
        { ...extent(0, 100, 2, 0, 6_000_000), object: 1 },
        { ...extent(100, 150, 3, 6_000_000, 2_999_000), object: 1 },
        { ...extent(100, 101, 3, 2 ** 32, 4000), topicId: OTHER_TOPIC, partition: 2, object: 2 },
      ],
    },
  ],
};
const REPLACE = REPLACE_EXAMPLE.entries[0]!;

describe("golden files", () => {
  test.each([
    ["index-append.idx", () => encodeLink(EXAMPLE, EXAMPLE_PAYLOAD)],
    ["index-fence.idx", () => encodeLink(fenceDraft({ seq: 1, epoch: 3, id: "fence", prev: writeId("before") }), [])],
    ["index-data-objects.idx", () => encodeLink(OBJECTS_EXAMPLE, EXAMPLE_PAYLOAD)],
    ["index-trim.idx", () => encodeLink(TRIM_EXAMPLE, [])],
    ["index-replace.idx", () => encodeLink(REPLACE_EXAMPLE, [])],
    ["index-boundary.idx", () => encodeLink({ ...EXAMPLE, entries: [{ type: "boundary", seq: 1 as Seq }] }, [])],
    ["index-release.idx", () => encodeLink({ ...EXAMPLE, entries: [{ type: "release" }] }, [])],
  ])("%s is what is written, byte for byte, and reads back", async (name, encode) => {
    const golden = readFileSync(new URL(`../format/${name}`, import.meta.url));
    expect(Buffer.from((await encode()).bytes).toString("hex")).toBe(golden.toString("hex"));
    expect(decode(golden).seq).toBe(1);
  });
});

test("what is decoded is what encodeLink said it wrote", async () => {
  const { bytes, link } = await encodeLink(EXAMPLE, EXAMPLE_PAYLOAD);
  expect(decode(bytes)).toEqual(link);
  const [entry] = link.entries;
  if (entry?.type !== "append") throw new Error("no append");
  const [, second] = entry.extents;
  expect(
    Buffer.from(bytes.subarray(second?.position, (second?.position ?? 0) + (second?.lengthBytes ?? 0))).toString(),
  ).toBe("world!");
});

test("data objects and inline batches in one link: each position counts within its own object", async () => {
  const { bytes, link } = await encodeLink(OBJECTS_EXAMPLE, EXAMPLE_PAYLOAD);
  expect(decode(bytes)).toEqual(link);
  const [entry] = link.entries;
  if (entry?.type !== "append") throw new Error("no append");
  expect(entry.objects).toEqual(OBJECTS_EXAMPLE.entries[0]?.objects);
  const payloadStart = bytes.length - 11;
  expect(entry.extents.map(({ object, position }) => [object, position])).toEqual([
    [1, 0],
    [1, 6_000_000],
    [2, 2 ** 32],
    [0, payloadStart],
    [0, payloadStart + 5],
  ]);
});

test("a link that no reader would take is not written: its directory has a limit", async () => {
  const extents = Array.from({ length: 1_400_000 }, () => OBJECTS_EXAMPLE.entries[0]?.extents[0] ?? extent(0, 1, 3));
  const draft = { ...OBJECTS_EXAMPLE, entries: [{ type: "append" as const, objects: [], extents }] };
  await expect(encodeLink(draft, [])).rejects.toMatchObject({ code: "TIERLOG_INVARIANT" });
});

test("linkOverheadBytes is exact: a flush fills a link to its limit and not over it", async () => {
  const { bytes } = await encodeLink(EXAMPLE, EXAMPLE_PAYLOAD);
  expect(linkOverheadBytes(2, 1, Buffer.byteLength(EXAMPLE.writerId))).toBe(bytes.length - 11);
});

test.each<[string, LinkEntry, number]>([
  // One topic id stands twice at most.
  ["trim", TRIM_EXAMPLE.entries[0]!, 16],
  ["replace", REPLACE, 0],
  ["boundary", { type: "boundary", seq: 1 as Seq }, 0],
  ["release", { type: "release" }, 0],
])("a %s is read as it was written; entryBytes is its size at most", async (_, entry, slack) => {
  const { bytes, link } = await encodeLink({ ...EXAMPLE, epoch: 3 as Epoch, entries: [entry] }, []);
  expect(decode(bytes)).toEqual(link);
  const { bytes: empty } = await encodeLink({ ...EXAMPLE, entries: [{ type: "release" }] }, []);
  expect(entryBytes(entry) - (bytes.length - (empty.length - 5))).toBe(slack);
});

const [FIRST, SECOND, THIRD] = REPLACE.extents as [LinkExtent, LinkExtent, LinkExtent];
const [RANGE, OTHER_RANGE] = REPLACE.ranges as [LinkRange, LinkRange];

test.each<[string, Partial<typeof REPLACE>]>([
  ["of no partition", { ranges: [], extents: [] }],
  ["of one partition twice", { ranges: [RANGE, RANGE], extents: [FIRST, SECOND, FIRST, SECOND] }],
  ["of no extent", { ranges: [{ ...RANGE, count: 0 }, OTHER_RANGE] }],
  ["that leaves a hole", { extents: [FIRST, THIRD] }],
  ["that ends too early", { extents: [FIRST, { ...SECOND, nextOffset: 149 as Offset }, THIRD] }],
  ["that ends too late", { extents: [FIRST, { ...SECOND, nextOffset: 151 as Offset }, THIRD] }],
  ["with an extent too many", { extents: [FIRST, SECOND, THIRD, THIRD] }],
  ["in another order than its ranges", { extents: [THIRD, FIRST, SECOND] }],
  ["with bytes inline", { extents: [FIRST, { ...SECOND, object: 0 }, THIRD] }],
])("a replace %s is not written", async (_, change) => {
  await expect(encodeLink({ ...EXAMPLE, entries: [{ ...REPLACE, ...change }] }, [])).rejects.toMatchObject({
    code: "TIERLOG_INVARIANT",
    message: expect.stringMatching(/replace /),
  });
});

test.each([
  ["of no extent", 24, 3, 0],
  ["that ends too early", 20, 150, 149],
  ["that ends too late", 20, 150, 151],
  ["of nothing", 20, 150, 0],
  ["that begins elsewhere", 12, 0, 1],
  ["of another partition than its extents", 4, 0, 1],
])("a replace %s is damage", async (_, at, before, after) => {
  const { bytes } = await encodeLink(REPLACE_EXAMPLE, []);
  const damaged = Buffer.from(bytes);
  const ranges = bytes.length - 4 - 3 * 48 - 4 - 2 * 28;
  expect(damaged.readUInt32BE(ranges + at)).toBe(before);
  damaged.writeUInt32BE(after, ranges + at);
  damaged.writeUInt32BE(crc32c(damaged.subarray(HEADER_BYTES, -4)), damaged.length - 4);
  expect(failure(() => decode(damaged))).toMatchObject({
    code: "TIERLOG_CORRUPTION",
    message: expect.stringContaining("replace of"),
  });
});

test.each([
  ["of no partition", []],
  ["that names a partition twice", [0, 2, 0]],
])("a trim %s is not written", async (_, partitions) => {
  const trims = partitions.map((partition) => ({
    ...PARTITION,
    partition,
    oldStart: 0 as Offset,
    newStart: 1 as Offset,
  }));
  await expect(encodeLink({ ...EXAMPLE, entries: [{ type: "trim", trims }] }, [])).rejects.toMatchObject({
    code: "TIERLOG_INVARIANT",
  });
});

test("a trim that names a partition twice, or none, is damage: which of them would count?", async () => {
  const { bytes } = await encodeLink(TRIM_EXAMPLE, []);
  const twice = Buffer.from(bytes);
  // The partition of the second trim.
  const at = bytes.length - 4 - 2 * 24 + 4;
  expect(twice.readUInt32BE(at)).toBe(2);
  twice.writeUInt32BE(0, at);
  twice.writeUInt32BE(crc32c(twice.subarray(HEADER_BYTES, -4)), twice.length - 4);
  expect(failure(() => decode(twice)).code).toBe("TIERLOG_CORRUPTION");

  // The same link with an entry of eight zero bytes: no topic, no partition.
  const entryAt = bytes.length - 4 - (4 + 2 * 16 + 4 + 3 * 24) - 4;
  const none = Buffer.concat([bytes.subarray(0, entryAt), Buffer.alloc(4 + 8 + 4)]);
  none.writeUInt32BE(8, entryAt);
  none.writeUInt32BE(none.length - HEADER_BYTES, 28);
  none.writeUInt32BE(crc32c(none.subarray(0, 60)), 60);
  none.writeUInt32BE(crc32c(none.subarray(HEADER_BYTES, -4)), none.length - 4);
  expect(failure(() => decode(none))).toMatchObject({ message: expect.stringContaining("no partition") });
});

describe.each([
  { name: "inline", payloadBytes: 11, bytes: (await encodeLink(EXAMPLE, EXAMPLE_PAYLOAD)).bytes },
  { name: "data objects", payloadBytes: 11, bytes: (await encodeLink(OBJECTS_EXAMPLE, EXAMPLE_PAYLOAD)).bytes },
  { name: "trim", payloadBytes: 0, bytes: (await encodeLink(TRIM_EXAMPLE, [])).bytes },
  { name: "replace", payloadBytes: 0, bytes: (await encodeLink(REPLACE_EXAMPLE, [])).bytes },
])("damage ($name)", ({ bytes, payloadBytes }) => {
  const directoryEnd = bytes.length - payloadBytes;

  test("every flipped bit of header and directory is noticed, and named with the object", () => {
    for (let at = 0; at < directoryEnd; at++) {
      for (let bit = 0; bit < 8; bit++) {
        const damaged = Uint8Array.from(bytes);
        damaged[at] = (damaged[at] ?? 0) ^ (1 << bit);
        const error = failure(() => decode(damaged));
        expect(error.code, `byte ${at} bit ${bit}`).toBe("TIERLOG_CORRUPTION");
        expect(error).toMatchObject({ key: KEY });
      }
    }
  });

  test("every cut is noticed", () => {
    for (let length = 0; length < bytes.length; length++) {
      expect(failure(() => decode(bytes.subarray(0, length))).code).toBe("TIERLOG_CORRUPTION");
    }
  });

  test("bytes behind the payload are noticed", () => {
    expect(failure(() => decode(Buffer.concat([bytes, Buffer.alloc(1)]))).code).toBe("TIERLOG_CORRUPTION");
  });

  test("numbers that lie under a right CRC are refused, or decode to a link that a reader can go by", () => {
    const outcomes = [...lies(bytes, directoryEnd)].map(({ lying, what }) => ({ what, outcome: outcomeOf(lying) }));
    const wrong = outcomes.filter(({ outcome }) => outcome !== "refused" && outcome !== "whole");
    expect(wrong).toEqual([]);
    expect(outcomes.filter(({ outcome }) => outcome === "refused").length).toBeGreaterThan(outcomes.length / 4);
  });

  test("lengths in the header that lie under a right CRC are noticed", () => {
    for (const [at, size] of [
      [28, 4],
      [32, 8],
    ] as const) {
      for (const value of [2n ** 31n - 1n, 2n ** 53n, 2n ** 63n]) {
        const lying = Buffer.from(bytes);
        if (size === 4) lying.writeUInt32BE(Number(value & 0xffff_ffffn), at);
        else lying.writeBigUInt64BE(value, at);
        lying.writeUInt32BE(crc32c(lying.subarray(0, 60)), 60);
        expect(failure(() => decode(lying)).code).toBe("TIERLOG_CORRUPTION");
      }
    }
  });

  test("property: random bytes in the directory under a right CRC end in the same way", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 200 }), fc.nat(0xffff_ffff), (noise, at) => {
        const lying = Buffer.from(bytes);
        const from = HEADER_BYTES + (at % (directoryEnd - 4 - HEADER_BYTES));
        lying.set(noise.subarray(0, directoryEnd - 4 - from), from);
        lying.writeUInt32BE(crc32c(lying.subarray(HEADER_BYTES, directoryEnd - 4)), directoryEnd - 4);
        expect(["refused", "whole"]).toContain(outcomeOf(lying));
      }),
      { numRuns: 2000 },
    );
  });

  test("an object under a wrong name is noticed", () => {
    expect(failure(() => decode(bytes, KEY, 2)).code).toBe("TIERLOG_CORRUPTION");
    expect(failure(() => decodeLinkHeader(bytes, KEY, 1 as ShardId, 1 as Seq)).code).toBe("TIERLOG_CORRUPTION");
  });
});

describe("what this version does not know", () => {
  test.each([
    ["a newer format version", 8, 2],
    ["flags", 10, 1],
    ["encryption", 11, 1],
  ])("%s is refused as unsupported, not as damage", async (_, at, value) => {
    const newer = Buffer.from((await encodeLink(EXAMPLE, EXAMPLE_PAYLOAD)).bytes);
    newer[at === 8 ? 9 : at] = value;
    newer.writeUInt32BE(crc32c(newer.subarray(0, 60)), 60);
    expect(failure(() => decode(newer)).code).toBe("TIERLOG_UNSUPPORTED_VERSION");
  });

  test.each([6, 8, 99])("an entry of type %i is refused: skipping it would fold another state", async (type) => {
    const { bytes } = await encodeLink({ ...EXAMPLE, entries: [{ type: "release" }] }, []);
    const newer = Buffer.from(bytes);
    newer[newer.length - 4 - 5] = type;
    newer.writeUInt32BE(crc32c(newer.subarray(HEADER_BYTES, newer.length - 4)), newer.length - 4);
    expect(failure(() => decode(newer)).code).toBe("TIERLOG_UNSUPPORTED_VERSION");
  });
});

test("a fence stands alone in its link", async () => {
  const fence = fenceDraft({ seq: 1, epoch: 1, id: "f", prev: writeId("p") });
  const both = { ...fence, entries: [...fence.entries, { type: "release" as const }] };
  const { bytes: bothBytes } = await encodeLink(both, []);
  const { bytes: noneBytes } = await encodeLink({ ...fence, entries: [] }, []);
  expect(failure(() => decode(bothBytes)).code).toBe("TIERLOG_CORRUPTION");
  expect(failure(() => decode(noneBytes)).code).toBe("TIERLOG_CORRUPTION");
});

test("offsets up to 2^53 − 1 survive; beyond is refused", async () => {
  const top = Number.MAX_SAFE_INTEGER;
  const draft = appendDraft({ seq: 1, epoch: 1, id: "top", prev: writeId("p"), baseOffset: top - 1 });
  const [entry] = decode((await encodeLink(draft, [Buffer.from("abcd")])).bytes).entries;
  expect(entry).toMatchObject({ type: "append", extents: [{ topicId: TOPIC, nextOffset: top as Offset }] });
});

/** Each place of the directory says, in 4 and in 8 bytes, what breaks naive arithmetic; the CRC is made right again. */
function* lies(bytes: Uint8Array, directoryEnd: number): Generator<{ readonly lying: Buffer; readonly what: string }> {
  for (const value of [0n, 1n, 2n ** 31n - 1n, 2n ** 32n - 1n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n]) {
    for (const size of [4, 8]) {
      if (value >= 2n ** 32n && size === 4) continue;
      for (let at = HEADER_BYTES + 32; at + size <= directoryEnd - 4; at++) {
        const lying = Buffer.from(bytes);
        if (size === 4) lying.writeUInt32BE(Number(value), at);
        else lying.writeBigUInt64BE(value, at);
        lying.writeUInt32BE(crc32c(lying.subarray(HEADER_BYTES, directoryEnd - 4)), directoryEnd - 4);
        yield { lying, what: `${value} in ${size} bytes at ${at}` };
      }
    }
  }
}

/** "refused" with an error that names object and position, "whole" as far as a reader can tell, or what is wrong. */
function outcomeOf(bytes: Uint8Array): string {
  let link: Link | undefined;
  const error = failure(() => {
    link = decode(bytes);
  });
  if (link === undefined) {
    if (error.code === "TIERLOG_UNSUPPORTED_VERSION") return "refused";
    const { key, position } = error as unknown as CorruptionError;
    const named = error.code === "TIERLOG_CORRUPTION" && key === KEY && position >= 0 && position <= bytes.length;
    return named ? "refused" : `${error.code} at ${position} of ${key}`;
  }
  for (const entry of link.entries) {
    if (entry.type === "trim") {
      const names = new Set(entry.trims.map(partitionKey));
      if (names.size !== entry.trims.length || names.size === 0) return "trims a partition twice, or none";
      const offsets = entry.trims.flatMap(({ oldStart, newStart }) => [oldStart, newStart]);
      if (!offsets.every(Number.isSafeInteger)) return `not exact: ${offsets.join(", ")}`;
    }
    if (entry.type !== "append") continue;
    for (const { key } of entry.objects) {
      const unusable = failure(() => checkKey(key)).code !== "no error" || key.includes("\u{fffd}");
      if (unusable) return `names the data object ${JSON.stringify(key)}`;
    }
    for (const found of entry.extents) {
      const home = found.object === 0 ? link : entry.objects[found.object - 1];
      if (home === undefined || found.position + found.lengthBytes > home.sizeBytes) return "beyond its object";
      if (found.lengthBytes < 1 || found.nextOffset <= found.baseOffset) return "empty";
      // What a checkpoint of the folded state would be refused for.
      if (found.leaderEpoch < 1 || found.leaderEpoch > link.epoch) return `leader epoch ${found.leaderEpoch}`;
      const numbers = [found.baseOffset, found.nextOffset, found.position, found.maxTimestampMs, home.sizeBytes];
      if (!numbers.every(Number.isSafeInteger)) return `not exact: ${numbers.join(", ")}`;
    }
  }
  return "whole";
}

function failure(act: () => unknown): { code: string; kind: string } {
  try {
    act();
  } catch (error) {
    if (isTierlogError(error)) return error;
    throw error;
  }
  return { code: "no error", kind: "no error" };
}
