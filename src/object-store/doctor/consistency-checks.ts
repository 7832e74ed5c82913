import type { ObjectKey } from "../../domain.ts";
import type { ObjectStore } from "../object-store.ts";
import { bad, ok, sameBytes, type CheckSpec } from "./check.ts";

const READ_ROUNDS = 20;
const LIST_ROUNDS = 10;
const HINT =
  "readers and recovery would miss acknowledged records: switch off caches and replicas between tierlog and the store, or use one consistent region";

/** Does everybody see at once what was written? Asked over other connections than those it was written over. */
export const CONSISTENCY_CHECKS: readonly CheckSpec[] = [
  {
    name: "read after write",
    severity: "required",
    hint: HINT,
    needs: ["s3:PutObject", "s3:GetObject", "s3:ListBucket"],
    async run({ store, other, key, random }) {
      const wrong: string[] = [];
      for (let round = 0; round < READ_ROUNDS; round++) {
        const name = key(`fresh-${round}`);
        // Recovery asks for the next index file before it exists; a cache that keeps "missing" shows only then.
        if (round % 2 === 0) await other.get(name);
        const body = random.bytes(256);
        await store.put(name, body, { condition: { kind: "none" } });
        const [found, info] = await Promise.all([other.get(name), other.head(name)]);
        if (!sameBytes(found?.body, body)) wrong.push(`GET in round ${round + 1}`);
        if (info?.sizeBytes !== body.length) wrong.push(`HEAD in round ${round + 1}`);
      }
      if (wrong.length === 0) return ok(`GET and HEAD by another client, ${READ_ROUNDS} rounds, none stale`);
      return bad(`${wrong.length} of ${2 * READ_ROUNDS} reads right after a PUT did not see it: ${some(wrong)}`);
    },
  },
  {
    name: "list after write and delete",
    severity: "required",
    hint: HINT,
    needs: ["s3:PutObject", "s3:ListBucket"],
    async run({ store, other, prefix, key, random, denied }) {
      const wrong: string[] = [];
      const deletes = !denied.has("s3:DeleteObject");
      for (let round = 0; round < LIST_ROUNDS; round++) {
        const name = key(`listed-${round}`);
        await store.put(name, random.bytes(16), { condition: { kind: "none" } });
        if (!(await keysOf(other, `${prefix}listed-`)).includes(name)) wrong.push(`missing in round ${round + 1}`);
        if (!deletes) continue;
        await store.delete([name]);
        if ((await keysOf(other, `${prefix}listed-`)).includes(name)) wrong.push(`still there in round ${round + 1}`);
      }
      const of = `${LIST_ROUNDS} rounds by another client`;
      if (wrong.length > 0) return bad(`${of}: a listing right afterwards was stale, ${some(wrong)}`);
      return ok(`${of}, none stale${deletes ? "" : " (writes only: DELETE is denied)"}`);
    },
  },
];

export async function keysOf(store: ObjectStore, prefix: string, startAfter?: ObjectKey): Promise<ObjectKey[]> {
  const keys: ObjectKey[] = [];
  for await (const { key } of store.list(prefix, startAfter === undefined ? {} : { startAfter })) keys.push(key);
  return keys;
}

function some(texts: readonly string[]): string {
  return texts.length <= 3 ? texts.join(", ") : `${texts.slice(0, 3).join(", ")} and ${texts.length - 3} more`;
}
