import { encodeLink } from "../../dist/index-chain/index-file.js";
import { indexKey } from "../../dist/object-store/object-names.js";

const NO_WRITE_ID = "0".repeat(32);
const TOPIC = "0123456789abcdef".repeat(2);

/** A chain of a fence and `count` links, each with one extent of each of `partitions` partitions, all live. */
export async function makeChain(count, partitions) {
  const links = [];
  let prev = NO_WRITE_ID;
  for (let seq = 0; seq <= count; seq++) {
    const writeId = (seq + 1).toString(16).padStart(32, "0");
    const entry =
      seq === 0 ? { type: "fence", journalId: "0".repeat(32), endpoint: "" } : appendOf(seq - 1, partitions);
    const draft = {
      shard: 0,
      seq,
      epoch: 1,
      writeId,
      prev,
      writerId: "bench",
      createdAtMs: 1_700_000_000_000,
      entries: [entry],
    };
    const payload = seq === 0 ? [] : [Buffer.alloc(partitions * 4)];
    const { bytes, link } = await encodeLink(draft, payload);
    links.push({ key: indexKey(0, seq), bytes, link, draft, payload });
    prev = writeId;
  }
  return links;
}

function appendOf(round, partitions) {
  const extents = Array.from({ length: partitions }, (_, partition) => ({
    topicId: TOPIC,
    partition,
    leaderEpoch: 1,
    baseOffset: round * 10,
    nextOffset: round * 10 + 10,
    object: 0,
    position: partition * 4,
    lengthBytes: 4,
    maxTimestampMs: 1_700_000_000_000,
  }));
  return { type: "append", objects: [], extents };
}
