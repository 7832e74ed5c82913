import { afterEach, beforeEach, expect, inject, test } from "vitest";

import { describeS3, freshPrefix } from "../support/s3.ts";
import { jsonLines, Workplace, type Finished, type Running } from "./tierlog.ts";

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

interface Ack {
  readonly firstOffset: number;
  readonly nextOffset: number;
  readonly epoch: number;
}

/** A process that appends lines named after it until it is stopped or ends by itself. */
class Producer {
  readonly running: Running;
  readonly #name: string;
  #lines = 0;
  #feeding = true;

  constructor(name: string, topic: string) {
    this.#name = name;
    const argv = ["produce", topic, "--partition", "0", "--batch-lines", "1", "--print-acks", "--json"];
    this.running = place.start(argv, env);
    void this.running.finished.finally(() => {
      this.#feeding = false;
    });
    void this.#feed();
  }

  get acks(): Ack[] {
    return jsonLines(this.running.stdout.toString().replace(/[^\n]*$/, "")) as unknown as Ack[];
  }

  /** Ends its input: it drains and exits. */
  async stop(): Promise<Finished> {
    this.#feeding = false;
    this.running.child.stdin?.end();
    return this.running.finished;
  }

  async #feed(): Promise<void> {
    while (this.#feeding) {
      this.running.child.stdin?.write(`${this.#name}${this.#lines++}\n`);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }
}

/** Every acked line of both stands at the offset of its ack, once, and the epochs never go back. */
async function check(topic: string, producers: readonly [string, Producer][]): Promise<void> {
  const { stdout } = await place.run(["consume", topic, "--json"], "", env);
  const log = jsonLines(stdout).map(({ value }) => String(value));
  expect(new Set(log).size).toBe(log.length);
  for (const [name, producer] of producers) {
    let line = 0;
    for (const { firstOffset, nextOffset } of producer.acks) {
      for (let offset = firstOffset; offset < nextOffset; offset++) expect(log[offset]).toBe(`${name}${line++}`);
    }
  }
}

describeS3("two producers on one shard", () => {
  test("B starts while A produces: B goes on, A exits 77 with FencedError", async () => {
    await place.run(["topics", "create", "t", "--partitions", "1"], "", env);
    const a = new Producer("a", "t");
    await a.running.until((stdout) => stdout.split("\n").length > 20);
    const b = new Producer("b", "t");
    const { exitCode, stderr } = await a.running.finished;
    await b.running.until((stdout) => stdout.split("\n").length > 20);
    const ofB = await b.stop();
    expect([exitCode, ofB.exitCode, ofB.stderr]).toEqual([77, 0, ""]);
    expect(jsonLines(stderr).at(-1)).toMatchObject({
      error: { kind: "fenced", code: "TIERLOG_FENCED", effect: "none", shard: 0, localEpoch: 1, currentEpoch: 2 },
    });
    expect(new Set(a.acks.map((ack) => ack.epoch))).toEqual(new Set([1]));
    expect(new Set(b.acks.map((ack) => ack.epoch))).toEqual(new Set([2]));
    await check("t", [
      ["a", a],
      ["b", b],
    ]);
  });

  test(`both start at the same instant, ${ROUNDS} rounds: exactly one survives each time`, async () => {
    const survivors = [];
    for (let round = 0; round < ROUNDS; round++) {
      const topic = `t${round}`;
      await place.run(["topics", "create", topic, "--partitions", "1"], "", env);
      const a = new Producer("a", topic);
      const b = new Producer("b", topic);
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
      await check(topic, [
        ["a", a],
        ["b", b],
      ]);
      survivors.push(first.winner === a ? "a" : "b");
    }
    expect(survivors).toHaveLength(ROUNDS);
    console.log(`survivors: ${survivors.join("")}`);
  });
});
