import type { Seq } from "../../domain.ts";
import { decodeCheckpoint, encodeCheckpoint, readCheckpointName } from "../../index-chain/checkpoint-file.ts";
import { firstDifference } from "../../index-chain/checkpoints.ts";
import type { ShardState, StateSnapshot } from "../../index-chain/shard-state.ts";
import { checkpointKey, checkpointPrefix } from "../../object-store/object-names.ts";
import { dataProblem, readTwice } from "./data-problem.ts";
import type { ShardInventory } from "./inventory.ts";
import type { Verification } from "./verification.ts";

/**
 * Reads the checkpoint of `seq` and compares it with `folded`, the state behind that seq, where there is one: it holds what folding
 * gives, to the byte. Resolves to what it holds; undefined where it cannot be read, or is gone because its owner replaced it.
 */
export async function checkCheckpoint(
  verification: Verification,
  { shard }: ShardInventory,
  seq: Seq,
  folded: ShardState | undefined,
): Promise<StateSnapshot | undefined> {
  const { store, calls, findings } = verification;
  const key = checkpointKey(shard, seq);
  let stored: Uint8Array | undefined;
  let snapshot: StateSnapshot | undefined;
  try {
    snapshot = await readTwice(async () => {
      stored = (await store.get(key, calls))?.body;
      return stored === undefined ? undefined : await decodeCheckpoint(stored, key, shard, seq);
    });
  } catch (error) {
    const { unsupported, position, problem } = dataProblem(error);
    const code = unsupported
      ? "unsupported-version"
      : isMisplaced(stored, { key, shard, seq })
        ? "misplaced-checkpoint"
        : "damaged-checkpoint";
    findings.add({
      code,
      key,
      position,
      problem: `${problem}; engines start from an older one or from the first link`,
    });
    return undefined;
  }
  if (snapshot === undefined || stored === undefined) {
    await checkReplaced(verification, shard, seq);
    return undefined;
  }
  if (folded !== undefined) {
    const right = folded.fence === undefined ? undefined : await encodeCheckpoint(folded.snapshot());
    if (right === undefined || Buffer.compare(right, stored) !== 0) {
      findings.add({
        code: "checkpoint-differs",
        key,
        position: right === undefined ? 0 : firstDifference(right, stored),
        problem: "its checks are right, and it holds another state than the links up to its seq give",
      });
    }
  }
  return snapshot;
}

/** An owner deletes those before its newest two: one that vanishes has a newer one behind it. */
async function checkReplaced(
  { store, calls, findings }: Verification,
  shard: ShardInventory["shard"],
  seq: Seq,
): Promise<void> {
  const key = checkpointKey(shard, seq);
  for await (const found of store.list(checkpointPrefix(shard), { ...calls, startAfter: key })) {
    if (found.key > key) return;
  }
  findings.add({ code: "damaged-checkpoint", key, problem: "was listed as the newest, and then does not exist" });
}

function isMisplaced(
  bytes: Uint8Array | undefined,
  { key, shard, seq }: { readonly key: ReturnType<typeof checkpointKey> } & Pick<StateSnapshot, "shard" | "seq">,
): boolean {
  if (bytes === undefined) return false;
  try {
    const name = readCheckpointName(bytes, key);
    return name.shard !== shard || name.seq !== seq;
  } catch (error) {
    dataProblem(error);
    return false;
  }
}
