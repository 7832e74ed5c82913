import { expect, test } from "vitest";

import type { Epoch } from "../../src/domain.ts";
import { OffsetOutOfRangeError } from "../../src/errors.ts";
import { freeCommitted, type RecoverOptions } from "../../src/shard/recovery.ts";

const EXTENT = { topicId: "t", partition: 0, baseOffset: 4, nextOffset: 8, position: 0, lengthBytes: 3 };
const BYTES = Buffer.from("abc");

/**
 * A journal with one frame, which the chain holds; while it is compared the owner of another process trims the partition to `trimmedTo`, and
 * whoever reads finds that out. `journalSince`: the epoch since which the chain names this journal.
 */
async function freed(options: { readonly trimmedTo: number; readonly journalSince: number }): Promise<number[]> {
  let startOffset = 0;
  const frees: number[] = [];
  const journal = {
    journalId: "j",
    async *frames() {
      yield { sequence: 1, epoch: 3 as Epoch, extents: [EXTENT], payloadBytes: 3 };
    },
    readPayload: () => Promise.resolve(BYTES),
    free: (through: number) => void frees.push(through),
  };
  const chain = {
    state: {
      extents: () => ({ startOffset, nextOffset: 9 }),
      fence: { journalId: "j", journalSince: options.journalSince },
    },
  };
  await freeCommitted({
    journal: journal as unknown as RecoverOptions["journal"],
    chain: chain as unknown as RecoverOptions["chain"],
    readCommitted: async (_, from) => {
      startOffset = options.trimmedTo;
      if (from < startOffset) throw new OffsetOutOfRangeError(from, startOffset, 9);
      return await Promise.resolve(BYTES);
    },
  });
  return frees;
}

test("a frame whose records are trimmed while it is compared with the chain is judged as one that was trimmed before", async () => {
  expect(await freed({ trimmedTo: 0, journalSince: 1 })).toEqual([1]);
  expect(await freed({ trimmedTo: 6, journalSince: 1 })).toEqual([1]);
  // Another's turn lies between: what was at these offsets may have been other records. It is set aside.
  expect(await freed({ trimmedTo: 6, journalSince: 4 })).toEqual([]);
});
