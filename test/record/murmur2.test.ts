import * as fc from "fast-check";
import { expect, test } from "vitest";

import { InvalidArgumentError } from "../../src/errors.ts";
import { murmur2, partitionForKey } from "../../src/record/murmur2.ts";
import { kafkaMurmur2 } from "./kafkajs.ts";
import { utf8 } from "./support.ts";

test.each([
  ["21", -973_932_308],
  ["foobar", -790_332_482],
  ["a-little-bit-long-string", -985_981_536],
  ["a-little-bit-longer-string", -1_486_304_829],
  ["lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971],
  ["abc", 479_470_107],
])("Kafka's own vector %s", (key, hash) => {
  expect(murmur2(utf8(key))).toBe(hash);
});

test("KafkaJS hashes every key alike", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (key) => {
      expect(murmur2(key)).toBe(kafkaMurmur2(Buffer.from(key)));
    }),
    { numRuns: 2000 },
  );
});

test("the partition is the positive hash modulo their number", () => {
  expect(partitionForKey(utf8("21"), 1000)).toBe((-973_932_308 & 0x7fff_ffff) % 1000);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 20 }), fc.integer({ min: 1, max: 100_000 }), (key, partitions) => {
      const partition = partitionForKey(key, partitions);
      expect(Number.isInteger(partition) && partition >= 0 && partition < partitions).toBe(true);
    }),
  );
});

test.each([0, -1, 1.5, Number.NaN])("%s partitions are refused", (partitions) => {
  expect(() => partitionForKey(utf8("k"), partitions)).toThrow(InvalidArgumentError);
});
