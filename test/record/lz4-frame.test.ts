import * as fc from "fast-check";
import { compressFrameSync } from "lz4-napi";
import { describe, expect, test } from "vitest";

import { CorruptionError, InvalidArgumentError } from "../../src/errors.ts";
import { checkEncodedBatch, decodeRecords } from "../../src/record/batch.ts";
import { compressLz4, decompressLz4 } from "../../src/record/compression.ts";
import { problemsAt } from "../../src/record/where.ts";
import { seededRandom } from "../../src/runtime/random.ts";
import { reframe } from "./reframe.ts";
import { batchOf, lz4Program, unlessCorrupt, utf8, WHERE } from "./support.ts";

const lz4 = lz4Program();
const MIB = 1024 * 1024;
const decompress = (frame: Uint8Array, maxBytes = 64 * MIB): Uint8Array =>
  decompressLz4(frame, maxBytes, problemsAt(WHERE));
const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

const content = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  fc
    .tuple(fc.uint8Array({ minLength: 1, maxLength: 50 }), fc.nat({ max: 4000 }))
    .map(([unit, times]) => Buffer.concat(Array.from({ length: times }, () => unit))),
);

describe("round trip", () => {
  test("any content, at once and from the thread pool", async () => {
    await fc.assert(
      fc.asyncProperty(content, async (bytes) => {
        const frame = await compressLz4(Buffer.from(bytes));
        expect(same(decompress(frame), bytes)).toBe(true);
        expect(same(decompress(frame, bytes.length), bytes)).toBe(true);
      }),
    );
  });

  test("frames with checksums", () => {
    const bytes = utf8("tierlog ".repeat(20_000));
    const frame = compressFrameSync(bytes, { contentChecksum: true, blockChecksums: true });
    expect(same(decompress(frame), bytes)).toBe(true);
    const damaged = Buffer.from(frame);
    damaged[frame.length - 1] = (frame[frame.length - 1] as number) ^ 1;
    expect(() => decompress(damaged)).toThrow(CorruptionError);
  });

  test("content that does not compress", () => {
    const noise = Buffer.from(seededRandom(7).bytes(300_000));
    expect(same(decompress(compressFrameSync(noise)), noise)).toBe(true);
  });
});

describe("refused", () => {
  const frame = compressFrameSync(utf8("tierlog ".repeat(50)));

  test("every cut, the end mark's included, which lz4-napi lets pass", () => {
    for (let length = 0; length < frame.length; length++) {
      expect(() => decompress(frame.subarray(0, length)), `cut to ${length}`).toThrow(CorruptionError);
    }
  });

  test("a second frame, of which lz4-napi would say nothing, and bytes behind the end", () => {
    expect(() => decompress(Buffer.concat([frame, frame]))).toThrow("follow the end mark");
    expect(() => decompress(Buffer.concat([frame, Buffer.alloc(1)]))).toThrow("follow the end mark");
  });

  test("skippable, legacy and other frames, dictionaries, unknown flags and block sizes", () => {
    const skippable = Buffer.from("502a4d1804000000aabbccdd", "hex");
    expect(() => decompress(skippable)).toThrow("no LZ4 frame");
    expect(() => decompress(Buffer.concat([skippable, frame]))).toThrow("no LZ4 frame");
    expect(() => decompress(Buffer.from("02214c1804000000aabbccdd", "hex"))).toThrow("no LZ4 frame");
    const changed = (at: number, byte: number): Buffer => {
      const copy = Buffer.from(frame);
      copy[at] = byte;
      return copy;
    };
    expect(() => decompress(changed(4, 0x61))).toThrow("dictionary");
    expect(() => decompress(changed(4, 0x62))).toThrow("version");
    expect(() => decompress(changed(4, 0xa0))).toThrow("version");
    for (const descriptor of [0x00, 0x30, 0x41, 0xc0]) {
      expect(() => decompress(changed(5, descriptor))).toThrow("block descriptor");
    }
    // The header's own checksum.
    expect(() => decompress(changed(6, (frame[6] as number) ^ 1))).toThrow("damaged");
  });

  test("any bytes, and any one byte of a frame changed, end in content or in a CorruptionError", () => {
    const check = (bytes: Uint8Array): void => {
      const content = unlessCorrupt(() => decompress(bytes, MIB));
      expect(content?.length ?? 0).toBeLessThanOrEqual(MIB);
    };
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => check(Buffer.concat([frame.subarray(0, 7), bytes]))),
      { numRuns: 3000 },
    );
    for (let at = 0; at < frame.length; at++) {
      for (let byte = 0; byte < 256; byte++) {
        const copy = Buffer.from(frame);
        copy[at] = byte;
        check(copy);
      }
    }
  });
});

describe("bombs", () => {
  /** A frame of `blocks` equal blocks, each a run of `blockBytes` zeros. */
  function bomb(blocks: number, blockBytes: number, sizeId: number): Buffer {
    const one = compressFrameSync(Buffer.alloc(blockBytes));
    // lz4-napi takes another block size for other lengths: header and its checksum come from a frame that has the right one.
    expect((one[5] as number) >> 4).toBe(sizeId);
    const block = one.subarray(7, one.length - 4);
    const size = block.readUInt32LE(0);
    expect(size).toBe(block.length - 4);
    return Buffer.concat([one.subarray(0, 7), ...Array.from({ length: blocks }, () => block), Buffer.alloc(4)]);
  }

  /** Bytes that this process got from the system at most while `run` ran, roughly. */
  function grownBytes(run: () => void): number {
    const before = process.memoryUsage();
    run();
    const after = process.memoryUsage();
    return after.external + after.arrayBuffers - before.external - before.arrayBuffers;
  }

  test("4 GiB in 17 MB are refused by their sizes, before anything is allocated", () => {
    const frame = bomb(1024, 4 * MIB, 7);
    expect(frame.length).toBeLessThan(18 * MIB);
    const start = performance.now();
    const grown = grownBytes(() => {
      expect(() => decompress(frame)).toThrow("the LZ4 frame decompresses to 4294967296 bytes, the limit is 67108864");
    });
    expect(grown).toBeLessThan(MIB);
    expect(performance.now() - start).toBeLessThan(2000);
  });

  test("exactly at the limit it passes, one byte below it does not", () => {
    const frame = bomb(4, 4 * MIB, 7);
    expect(decompress(frame, 16 * MIB).length).toBe(16 * MIB);
    expect(() => decompress(frame, 16 * MIB - 1)).toThrow("the limit is 16777215");
  });

  test("many short blocks are judged by what they hold, not by what a block may hold", () => {
    const short = compressFrameSync(Buffer.alloc(5000));
    const block = short.subarray(7, short.length - 4);
    const frame = Buffer.concat([short.subarray(0, 7), ...Array.from({ length: 200 }, () => block), Buffer.alloc(4)]);
    expect(decompress(frame, 1_000_000).length).toBe(1_000_000);
    expect(() => decompress(frame, 999_999)).toThrow("decompresses to 1000000 bytes");
  });

  test("a content size that the blocks cannot hold is not believed", () => {
    const header = Buffer.from("04224d186840ffffffffffffff7f00", "hex");
    expect(() => decompress(Buffer.concat([header, Buffer.alloc(4)]))).toThrow("its blocks hold at most 0");
  });

  test("a block larger than its frame allows is refused", () => {
    const large = compressFrameSync(Buffer.from(seededRandom(3).bytes(200_000)));
    const header = compressFrameSync(Buffer.alloc(100)).subarray(0, 7);
    expect((header[5] as number) >> 4).toBe(4);
    expect(() => decompress(Buffer.concat([header, large.subarray(7)]))).toThrow("in a frame of at most 65536");
    // A compressed block that is short but grows beyond the block size.
    const zeros = compressFrameSync(Buffer.alloc(200_000));
    expect(() => decompress(Buffer.concat([header, zeros.subarray(7)]))).toThrow(CorruptionError);
    expect(() => decompress(Buffer.concat([header, zeros.subarray(7)]), 1000)).toThrow("does not fit its frame");
  });

  test("in a batch: refused when read, and at the door", async () => {
    const { bytes } = await batchOf([{ value: utf8("v") }]);
    const batch = reframe(bytes, bomb(40, 4 * MIB, 7));
    expect(() => decodeRecords(batch, WHERE)).toThrow(CorruptionError);
    expect(() => checkEncodedBatch(batch, 2 * MIB)).toThrow(InvalidArgumentError);
    expect(() => decodeRecords(reframe(bytes, compressFrameSync(Buffer.alloc(5000))), WHERE, 4999)).toThrow(
      "limit is 4999",
    );
  });
});

describe.skipIf(lz4 === undefined)("frames of the lz4 program", () => {
  const bytes = utf8(Array.from({ length: 30_000 }, (_, i) => `{"n":${i},"path":"/items/${i % 13}"}`).join("\n"));

  test.each([
    ["-1"],
    ["-9 --content-size -BD"],
    ["-1 -B4 -BD"],
    ["-9 -B5 -BX"],
    ["-1 -B6 --no-frame-crc"],
    ["-12 -B7 --content-size"],
  ])("lz4 %s", (args) => {
    const frame = lz4?.(args.split(" "), bytes) ?? Buffer.alloc(0);
    expect(same(decompress(frame), bytes)).toBe(true);
    expect(same(decompress(frame, bytes.length), bytes)).toBe(true);
    expect(() => decompress(frame, bytes.length - 1)).toThrow(`the limit is ${bytes.length - 1}`);
  });

  test("a content size that is not that of the content is found", () => {
    const pack = (content: Uint8Array): Buffer => lz4?.(["-1", "--content-size"], content) ?? Buffer.alloc(0);
    const [header, blocks] = [pack(bytes.subarray(0, 1000)).subarray(0, 15), pack(bytes.subarray(0, 900)).subarray(15)];
    expect(() => decompress(Buffer.concat([header, blocks]))).toThrow(CorruptionError);
  });

  test("it reads ours", async () => {
    for (const size of [0, 100, 30_000, bytes.length]) {
      const frame = await compressLz4(bytes.subarray(0, size));
      expect(lz4?.(["-d"], frame).equals(bytes.subarray(0, size))).toBe(true);
    }
  });
});
