import { runCreateRace, statusOf } from "../probe/race-create.ts";
import { bad, ok, sameBytes, type CheckSpec, type Finding } from "./check.ts";

const WRITERS = 16;
const ROUNDS = 20;
const SMALL_BYTES = 64;
const LARGE_BYTES = 64 * 1024;

const HINT =
  'if the bucket keeps versions (object lock does), take one without versioning: some servers, Ceph RGW among them, mind create-if-absent only there. Else: several writers need a store with an atomic PUT for that (If-None-Match: * on most); with one writer only, kept alone by other means, set system.storage.object.fencing = "external"';

/** What the fence between two writers stands on. */
export const CREATE_CHECKS: readonly CheckSpec[] = [
  {
    name: "create-if-absent, key exists",
    severity: "fencing",
    hint: HINT,
    needs: ["s3:PutObject", "s3:GetObject"],
    async run({ race, createHeader, store, key, random }): Promise<Finding> {
      const name = key("exists");
      const first = random.bytes(SMALL_BYTES);
      await store.put(name, first, { condition: { kind: "none" } });
      const [answer] = await race(name, [random.bytes(SMALL_BYTES)]);
      const after = (await store.get(name))?.body;
      if (answer?.kind === "unsupported")
        return bad(`PUT with ${createHeader} is not known here: ${statusOf(answer.error)}`);
      if (answer?.kind === "unclear") return bad(`no clear answer: ${answer.error.message}`);
      if (answer?.kind === "written") return bad(`the PUT was answered as a success: ${createHeader} is ignored`);
      if (after === undefined) return bad("refused, but the object cannot be read");
      return sameBytes(after, first)
        ? ok("refused, and nothing changed")
        : bad("refused, and overwritten all the same");
    },
  },
  {
    name: "create-if-absent, racing",
    severity: "fencing",
    hint: HINT,
    needs: ["s3:PutObject", "s3:GetObject"],
    async run({ race, createHeader, store, key, random }) {
      const report = await runCreateRace({
        race,
        header: createHeader,
        read: async (name) => (await store.get(name))?.body,
        key: (round) => key(`race-${round}`),
        random,
        writers: WRITERS,
        rounds: ROUNDS,
        bodyBytes: (round) => (round % 2 === 0 ? SMALL_BYTES : LARGE_BYTES),
      });
      return { ok: report.finding === "atomic", detail: report.detail };
    },
  },
];

/** Over the contract, where there are no single requests to look at. */
export const IF_MATCH_CHECK: CheckSpec = {
  name: "If-Match",
  severity: "advice",
  hint: "nothing: this version of tierlog does not need it",
  needs: ["s3:PutObject"],
  async run({ once, key, random }) {
    const name = key("if-match");
    const put = (etag: string | undefined): ReturnType<typeof once.put> =>
      once.put(name, random.bytes(SMALL_BYTES), {
        condition: etag === undefined ? { kind: "none" } : { kind: "if-match", etag: etag as never },
      });
    const first = await put(undefined);
    if (first.kind !== "written" || first.etag === "") return bad("the store gives no ETag");
    const right = await put(first.etag);
    if (right.kind !== "written") return bad("refused although the ETag is right");
    return (await put(first.etag)).kind === "written"
      ? bad("a stale ETag was accepted")
      : ok("right taken, stale refused");
  },
};
