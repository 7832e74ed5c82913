import { afterEach, beforeEach, expect, inject, test } from "vitest";

import { describeS3, freshPrefix } from "../support/s3.ts";
import { checkedLog, Producer } from "./producer.ts";
import { checkSplitBrain } from "./split-brain.ts";
import { jsonLines, Workplace } from "./tierlog.ts";

/** I4: two producing processes on one shard of one bucket. Whoever is fenced exits 77 and stores nothing more. */

const ROUNDS = Number(process.env["TIERLOG_TEST_FENCING_ROUNDS"] ?? 20);

let place: Workplace;
let env: Record<string, string>;

beforeEach(async () => {
  place = await Workplace.make();
  const server = inject("s3");
  env = {
    TIERLOG_SYSTEM_STORAGE_KIND: "object",
    TIERLOG_SYSTEM_STORAGE_OBJECT_BUCKET: server?.bucket ?? "",
    TIERLOG_SYSTEM_STORAGE_OBJECT_PREFIX: freshPrefix(),
    TIERLOG_SYSTEM_FLUSH_LINGER: "5ms",
    AWS_ENDPOINT_URL_S3: server?.endpoint ?? "",
    AWS_REGION: server?.region ?? "",
    AWS_ACCESS_KEY_ID: server?.accessKeyId ?? "",
    AWS_SECRET_ACCESS_KEY: server?.secretAccessKey ?? "",
  };
});
afterEach(() => place.remove());

describeS3("two producers on one shard", () => {
  test("B starts while A produces: B goes on, A exits 77 with FencedError", async () => {
    await place.run(["topics", "create", "t", "--partitions", "1"], "", env);
    const a = new Producer(place, env, "a", "t");
    await a.running.until((stdout) => stdout.split("\n").length > 20);
    const b = new Producer(place, env, "b", "t");
    const { exitCode, stderr } = await a.running.finished;
    await b.running.until((stdout) => stdout.split("\n").length > 20);
    const ofB = await b.stop();
    expect([exitCode, ofB.exitCode, ofB.stderr]).toEqual([77, 0, ""]);
    expect(jsonLines(stderr).at(-1)).toMatchObject({
      error: { kind: "fenced", code: "TIERLOG_FENCED", effect: "none", shard: 0, localEpoch: 1, currentEpoch: 2 },
    });
    expect(new Set(a.acks.map((ack) => ack.epoch))).toEqual(new Set([1]));
    expect(new Set(b.acks.map((ack) => ack.epoch))).toEqual(new Set([2]));
    await checkedLog(place, env, "t", [a, b]);
  });

  test(`both start at the same instant, ${ROUNDS} rounds: exactly one survives each time`, async () => {
    const survivors = [];
    for (let round = 0; round < ROUNDS; round++) {
      const topic = `t${round}`;
      await place.run(["topics", "create", topic, "--partitions", "1"], "", env);
      const a = new Producer(place, env, "a", topic);
      const b = new Producer(place, env, "b", topic);
      const first = await Promise.race([
        a.running.finished.then((finished) => ({ loser: finished, winner: b })),
        b.running.finished.then((finished) => ({ loser: finished, winner: a })),
      ]);
      // The survivor goes on appending: it did not just outlive the other.
      const acked = first.winner.acks.length;
      await first.winner.running.until((stdout) => stdout.split("\n").length > acked + 5);
      const winner = await first.winner.stop();
      expect([first.loser.exitCode, winner.exitCode, winner.stderr]).toEqual([77, 0, ""]);
      expect(jsonLines(first.loser.stderr).at(-1)).toMatchObject({ error: { code: "TIERLOG_FENCED", effect: "none" } });
      await checkedLog(place, env, topic, [a, b]);
      survivors.push(first.winner === a ? "a" : "b");
    }
    expect(survivors).toHaveLength(ROUNDS);
    console.log(`survivors: ${survivors.join("")}`);
  });

  test("F28 two-writers-split-brain: one is stopped while the other takes over; going on, it is fenced and acks nothing more", async () => {
    for (let round = 0; round < 3; round++) {
      await expect(checkSplitBrain(place, env, `t${round}`)).resolves.toBeUndefined();
    }
  });
});
