import { setTimeout as sleep } from "node:timers/promises";

import type { Chain } from "../checker/chain.ts";
import { end, expectFenced, launch, NODES, pick, type AfterCheck, type RoundContext } from "./round.ts";

/**
 * kill -9 while the process merges and frees space: most times as soon as the object of a merge is there, which no link may name yet; else
 * at any time, in the middle of reading, of an upload or of a round of deletes. REQUIRES: an arena that frees.
 */
export async function killInMerge(context: RoundContext): Promise<AfterCheck> {
  const { arena, random, count } = context;
  const before = new Set(await arena.dataObjects());
  const child = await launch(context, { journal: pick(context, NODES), lease: "off" });
  await child.until("an ack of each partition", () => child.partitions.size === context.partitions);
  const atObject = random.float() < 0.7;
  const until = Date.now() + (atObject ? 20_000 : 500 + random.float() * 3000);
  let fresh: string | undefined;
  while (!child.ended && Date.now() < until) {
    fresh = (await arena.dataObjects()).findLast((key) => !before.has(key));
    if (atObject && fresh !== undefined) break;
    await sleep(1);
  }
  await end(context, child);
  if (atObject && fresh === undefined) throw new Error(`nothing was merged in 20 s: ${child.describe()}`);
  count("open uploads left by a kill", await arena.openUploads());

  return async ({ chains }) => {
    const named = namedBy(chains);
    if (fresh !== undefined && !named.has(fresh) && (await arena.dataObjects()).includes(fresh))
      count("merges cut off before their link");
    for (const { merges } of chains) count("merges in the chain", merges);
  };
}

/**
 * The owner stands still while another takes its shards over and frees the very links that kept it out: what it sends next is created in a
 * slot that was deleted. It acknowledges nothing of that, and nobody sees it. REQUIRES: an arena that frees.
 */
export async function sleepPastGrace(context: RoundContext): Promise<void> {
  const { arena, random, count } = context;
  const [mine, theirs] = random.float() < 0.5 ? NODES : (["b", "a"] as const);
  const owner = await launch(context, { journal: mine, lease: "2s" });
  await owner.until("an ack of each partition", () => owner.partitions.size === context.partitions);
  await sleep(random.float() * 300);
  owner.signal("SIGSTOP");
  const ends = [...(await arena.links())].map(([shard, seqs]) => ({ shard, next: seqs.at(-1)! + 1 }));
  const taker = await launch(context, { journal: theirs, lease: "2s" });
  try {
    await taker.until("an ack of each partition", () => taker.partitions.size === context.partitions);
    for (const until = Date.now() + 60_000; ;) {
      const links = await arena.links();
      if (ends.every(({ shard, next }) => (links.get(shard)?.[0] ?? 0) > next)) break;
      if (taker.ended || Date.now() > until) throw new Error(`the links were not freed in time: ${taker.describe()}`);
      await sleep(50);
    }
    // What lands from now on stays to be seen.
    await end(context, taker);
    owner.signal("SIGCONT");
    await owner.until("it was fenced", () => owner.end !== undefined);
    const links = await arena.links();
    for (const { shard, next } of ends) if ((links.get(shard)?.[0] ?? 0) <= next) count("late links in deleted slots");
  } finally {
    await taker.kill();
    await owner.kill();
  }
  expectFenced(owner);
}

/** Whatever kills left behind goes, and nothing else does. */
export async function sweep({ arena, ackAfterUpload, count }: RoundContext): Promise<void> {
  const { deleted, problems, refused } = await arena.free({ journal: NODES[0], ackAfterUpload, lease: "off" });
  if (problems.length > 0 || refused > 0) throw new Error(`not all could be freed: ${problems.join("; ")}`);
  const { chains } = await arena.check();
  const named = namedBy(chains);
  const left = (await arena.dataObjects()).filter((key) => !named.has(key));
  const uploads = await arena.openUploads();
  if (left.length > 0 || uploads > 0)
    throw new Error(`${left.length} data objects that no link names and ${uploads} open uploads are left: ${left[0]}`);
  count("data objects swept", deleted.objectsDeleted);
  count("links swept", deleted.linksDeleted);
  count("uploads swept", deleted.uploadsAborted);
}

function namedBy(chains: readonly Chain[]): Set<string> {
  return new Set(chains.flatMap(({ dataObjects }) => [...dataObjects]));
}
