import type { Seq, ShardId } from "../../domain.ts";
import { checkpointPrefix, parseObjectName } from "../../object-store/object-names.ts";
import type { Verification } from "./verification.ts";

/** Of each shard, once it has a boundary: nobody deletes links that the older of them does not stand for. */
const CHECKPOINTS_KEPT = 2;

/**
 * Once there is a boundary, two checkpoints are kept, and it is at most one above the seq of the older one (DESIGN section 4, rules 7
 * and 8). They are listed again: while the links were read their owner may have written one more, and moved the boundary.
 */
export async function checkBoundary(
  { store, calls, findings }: Verification,
  { shard, boundary }: { readonly shard: ShardId; readonly boundary: Seq },
): Promise<void> {
  if (boundary === 0) return;
  const prefix = checkpointPrefix(shard);
  const seqs: Seq[] = [];
  for await (const { key } of store.list(prefix, calls)) {
    const name = parseObjectName(key);
    if (name?.kind === "checkpoint") seqs.push(name.seq);
  }
  const older = seqs.at(-CHECKPOINTS_KEPT);
  if (older === undefined) {
    findings.add({
      code: "missing-checkpoint",
      key: prefix,
      problem:
        `links below seq ${boundary} may be deleted, and their checkpoints are all that is left of them: ` +
        `there should be ${CHECKPOINTS_KEPT}, ${seqs.length} can be found`,
    });
  } else if (boundary > older + 1) {
    findings.add({
      code: "boundary-too-high",
      key: prefix,
      problem:
        `links below seq ${boundary} may be deleted, and the older of the newest ${CHECKPOINTS_KEPT} checkpoints stands for those ` +
        `up to seq ${older} only: without the newest one the shard cannot be opened`,
    });
  }
}
