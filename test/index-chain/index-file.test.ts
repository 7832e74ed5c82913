import { readFileSync } from "node:fs";

import { describe, expect, test } from "vitest";

import type { Epoch, ObjectKey, Offset, Seq, ShardId } from "../../src/domain.ts";
import { isTierlogError } from "../../src/errors.ts";
import {
  decodeLink,
  decodeLinkHeader,
  encodeLink,
  HEADER_BYTES,
  linkOverheadBytes,
  type Link,
} from "../../src/index-chain/index-file.ts";
import { indexKey } from "../../src/object-store/object-names.ts";
import { crc32c } from "../../src/record/crc32c.ts";
import { appendDraft, extent, fenceDraft, SHARD, TOPIC, writeId } from "./links.ts";

const KEY = indexKey(SHARD, 1 as Seq);

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

describe("golden files", () => {
  test.each([
    ["index-append.idx", () => encodeLink(EXAMPLE, EXAMPLE_PAYLOAD).bytes],
    [
      "index-fence.idx",
      () => encodeLink(fenceDraft({ seq: 1, epoch: 3, id: "fence", prev: writeId("before") }), []).bytes,
    ],
    ["index-release.idx", () => encodeLink({ ...EXAMPLE, entries: [{ type: "release" }] }, []).bytes],
  ])("%s is what is written, byte for byte, and reads back", (name, encode) => {
    const golden = readFileSync(new URL(`../format/${name}`, import.meta.url));
    expect(Buffer.from(encode()).toString("hex")).toBe(golden.toString("hex"));
    expect(decode(golden).seq).toBe(1);
  });
});

test("what is decoded is what encodeLink said it wrote", () => {
  const { bytes, link } = encodeLink(EXAMPLE, EXAMPLE_PAYLOAD);
  expect(decode(bytes)).toEqual(link);
  const [entry] = link.entries;
  if (entry?.type !== "append") throw new Error("no append");
  const [, second] = entry.extents;
  expect(
    Buffer.from(bytes.subarray(second?.position, (second?.position ?? 0) + (second?.lengthBytes ?? 0))).toString(),
  ).toBe("world!");
});

test("linkOverheadBytes is exact: a flush fills a link to its limit and not over it", () => {
  const { bytes } = encodeLink(EXAMPLE, EXAMPLE_PAYLOAD);
  expect(linkOverheadBytes(2, 1, Buffer.byteLength(EXAMPLE.writerId))).toBe(bytes.length - 11);
});

describe("damage", () => {
  const { bytes } = encodeLink(EXAMPLE, EXAMPLE_PAYLOAD);
  const directoryEnd = bytes.length - 11;

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

  test("numbers that lie under a right CRC neither allocate nor pass", () => {
    // Each 32-bit field of the directory in turn says 2^31 − 1 and 2^32 − 1, each of 64 bits 2^31 − 1, 2^53 and 2^63; the CRCs
    // are made right again.
    let refused = 0;
    for (const value of [0x7fff_ffff, 0xffff_ffff]) {
      for (let at = HEADER_BYTES + 32; at + 4 <= directoryEnd - 4; at++) {
        const lying = Buffer.from(bytes);
        lying.writeUInt32BE(value, at);
        lying.writeUInt32BE(crc32c(lying.subarray(HEADER_BYTES, directoryEnd - 4)), directoryEnd - 4);
        const { kind } = failure(() => decode(lying));
        expect(["data", "no error"]).toContain(kind);
        if (kind === "data") refused++;
      }
    }
    for (const value of [2n ** 31n - 1n, 2n ** 53n, 2n ** 63n]) {
      for (let at = HEADER_BYTES + 32; at + 8 <= directoryEnd - 4; at++) {
        const lying = Buffer.from(bytes);
        lying.writeBigUInt64BE(value, at);
        lying.writeUInt32BE(crc32c(lying.subarray(HEADER_BYTES, directoryEnd - 4)), directoryEnd - 4);
        const { kind } = failure(() => decode(lying));
        expect(["data", "no error"]).toContain(kind);
        if (kind === "data") refused++;
      }
    }
    expect(refused).toBeGreaterThan(400);
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
  ])("%s is refused as unsupported, not as damage", (_, at, value) => {
    const newer = Buffer.from(encodeLink(EXAMPLE, EXAMPLE_PAYLOAD).bytes);
    newer[at === 8 ? 9 : at] = value;
    newer.writeUInt32BE(crc32c(newer.subarray(0, 60)), 60);
    expect(failure(() => decode(newer)).code).toBe("TIERLOG_UNSUPPORTED_VERSION");
  });

  test.each([2, 3, 6, 7, 99])("an entry of type %i is refused: skipping it would fold another state", (type) => {
    const { bytes } = encodeLink({ ...EXAMPLE, entries: [{ type: "release" }] }, []);
    const newer = Buffer.from(bytes);
    newer[newer.length - 4 - 5] = type;
    newer.writeUInt32BE(crc32c(newer.subarray(HEADER_BYTES, newer.length - 4)), newer.length - 4);
    expect(failure(() => decode(newer)).code).toBe("TIERLOG_UNSUPPORTED_VERSION");
  });
});

test("a fence stands alone in its link", () => {
  const fence = fenceDraft({ seq: 1, epoch: 1, id: "f", prev: writeId("p") });
  const both = { ...fence, entries: [...fence.entries, { type: "release" as const }] };
  expect(failure(() => decode(encodeLink(both, []).bytes)).code).toBe("TIERLOG_CORRUPTION");
  expect(failure(() => decode(encodeLink({ ...fence, entries: [] }, []).bytes)).code).toBe("TIERLOG_CORRUPTION");
});

test("offsets up to 2^53 − 1 survive; beyond is refused", () => {
  const top = Number.MAX_SAFE_INTEGER;
  const draft = appendDraft({ seq: 1, epoch: 1, id: "top", prev: writeId("p"), baseOffset: top - 1 });
  const [entry] = decode(encodeLink(draft, [Buffer.from("abcd")]).bytes).entries;
  expect(entry).toMatchObject({ type: "append", extents: [{ topicId: TOPIC, nextOffset: top as Offset }] });
});

function failure(act: () => unknown): { code: string; kind: string } {
  try {
    act();
  } catch (error) {
    if (isTierlogError(error)) return error;
    throw error;
  }
  return { code: "no error", kind: "no error" };
}
