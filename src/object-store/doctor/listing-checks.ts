import type { ObjectKey } from "../../domain.ts";
import { Semaphore } from "../../runtime/mutex.ts";
import { compareKeys } from "../object-key.ts";
import { settleAll } from "../probe/race-create.ts";
import { bad, ok, type CheckSpec, type Lab } from "./check.ts";
import { keysOf } from "./consistency-checks.ts";

/** Five more than S3 puts on a page. */
const PAGED_KEYS = 1005;

/** Ascending by UTF-8 bytes. By UTF-16 units the last two would change places; with case folded others would. */
const ODD_NAMES = ["!", "-", "A", "Z", "a", "a b", "a+b", "z", "~", "é", "日", "～", "😀"];

export const LISTING_CHECKS: readonly CheckSpec[] = [
  {
    name: "list beyond 1,000 keys",
    severity: "required",
    hint: "checkpoints and topics are found by listing in ascending order; S3 Express One Zone and some copies list in none and cannot be used",
    needs: ["s3:PutObject", "s3:ListBucket"],
    async run(lab) {
      const { other, prefix, key } = lab;
      const keys = Array.from({ length: PAGED_KEYS }, (_, i) => key(`paged/${String(i).padStart(6, "0")}`));
      await putAll(lab, keys);
      const found = await keysOf(other, `${prefix}paged/`);
      const wrong = firstDifference(found, keys);
      if (wrong !== undefined) return bad(`of ${PAGED_KEYS} keys a listing gave ${found.length}: ${wrong}`);
      const after = await keysOf(other, `${prefix}paged/`, keys[499]);
      const wrongAfter = firstDifference(after, keys.slice(500));
      if (wrongAfter !== undefined) return bad(`a listing that starts after key 500 is wrong: ${wrongAfter}`);
      return ok(`${PAGED_KEYS.toLocaleString("en")} keys over several pages, ascending, and from the middle on`);
    },
  },
  {
    name: "list order of odd names",
    severity: "advice",
    hint: "tierlog's own names are plain ASCII, so nothing is lost",
    needs: ["s3:PutObject", "s3:ListBucket"],
    async run(lab) {
      const { other, prefix, key } = lab;
      const keys = ODD_NAMES.map((name) => key(`odd/${name}`)).sort(compareKeys);
      await putAll(lab, keys);
      const wrong = firstDifference(await keysOf(other, `${prefix}odd/`), keys);
      return wrong === undefined ? ok("ascending by the bytes of UTF-8") : bad(wrong);
    },
  },
  {
    name: "delete many at once",
    severity: "advice",
    hint: "old checkpoints may stay in the store, and are paid for",
    needs: ["s3:PutObject", "s3:ListBucket", "s3:DeleteObject"],
    async run(lab) {
      const { once, other, prefix, key } = lab;
      const keys = Array.from({ length: 20 }, (_, i) => key(`deleted/${i}`));
      await putAll(lab, keys);
      await once.delete([...keys, key("deleted/never-there")]);
      const left = await keysOf(other, `${prefix}deleted/`);
      return left.length === 0
        ? ok("20 keys and one that was never there, in one request")
        : bad(`${left.length} of 20 keys are still there`);
    },
  },
];

async function putAll(lab: Lab, keys: readonly ObjectKey[]): Promise<void> {
  const semaphore = new Semaphore(lab.concurrency);
  const body = Buffer.from("x");
  let failed = false;
  const put = async (key: ObjectKey): Promise<void> => {
    // One failure decides; the rest need not wait for theirs.
    if (failed) return;
    try {
      await lab.store.put(key, body, { condition: { kind: "none" } });
    } catch (error) {
      failed = true;
      throw error;
    }
  };
  await settleAll(keys.map((key) => semaphore.run(() => put(key))));
}

function firstDifference(found: readonly ObjectKey[], expected: readonly ObjectKey[]): string | undefined {
  const at = expected.findIndex((key, i) => found[i] !== key);
  if (at === -1) {
    return found.length === expected.length ? undefined : `${found.length - expected.length} keys too many`;
  }
  return `at place ${at + 1} stands ${tail(found[at])}, not ${tail(expected[at])}`;
}

function tail(key: string | undefined): string {
  return key === undefined ? "nothing" : `"${key.slice(key.lastIndexOf("/") + 1)}"`;
}
