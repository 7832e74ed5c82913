import { setTimeout as sleep } from "node:timers/promises";

import { expect } from "vitest";

import { checkedLog, Producer } from "./producer.ts";
import { jsonLines, type Workplace } from "./tierlog.ts";

/**
 * A produces and is stopped wherever it happens to be; B takes the shard over and acks; A goes on, sure that it still owns the shard.
 * I4: A exits 77, and every line of A that was ever acked, or that anybody sees, lies before B's first.
 */
export async function checkSplitBrain(place: Workplace, env: Record<string, string>, topic: string): Promise<void> {
  const made = await place.run(["topics", "create", topic, "--partitions", "1"], "", env);
  expect(made.stderr).toBe("");
  const producers: Producer[] = [];
  const produce = (name: string): Producer => {
    const producer = new Producer(place, env, name, topic);
    producers.push(producer);
    return producer;
  };
  try {
    await splitBrain(produce, () => checkedLog(place, env, topic, producers));
  } finally {
    // One that is stopped ends by nothing else.
    for (const { running } of producers) running.child.kill("SIGKILL");
  }
}

async function splitBrain(produce: (name: string) => Producer, readLog: () => Promise<string[]>): Promise<void> {
  const a = produce("a");
  await a.running.until((stdout) => stdout.split("\n").length > 20);
  a.running.child.kill("SIGSTOP");
  const b = produce("b");
  await b.running.until((stdout) => stdout.split("\n").length > 20);
  a.running.child.kill("SIGCONT");
  const fenced = await Promise.race([a.running.finished, goesOn()]);
  // B has not noticed.
  const acked = b.acks.length;
  await b.running.until((stdout) => stdout.split("\n").length > acked + 10);
  const survived = await b.stop();
  expect([fenced.exitCode, survived.exitCode, survived.stderr]).toEqual([77, 0, ""]);
  expect(jsonLines(fenced.stderr).at(-1)).toMatchObject({ error: { kind: "fenced", code: "TIERLOG_FENCED" } });

  expect(new Set(b.acks.map(({ epoch }) => epoch)).size).toBe(1);
  const log = await readLog();
  const firstOfB = log.findIndex((line) => line.startsWith("b"));
  expect(firstOfB).toBeGreaterThan(0);
  expect(log.slice(firstOfB).filter((line) => !line.startsWith("b"))).toEqual([]);
  expect(a.acks.at(-1)?.nextOffset).toBeLessThanOrEqual(firstOfB);
  // What a request of A's might still do: nothing anybody sees.
  await sleep(300);
  expect(await readLog()).toEqual(log);
}

async function goesOn(): Promise<never> {
  await sleep(10_000, undefined, { ref: false });
  throw new Error("the one that was stopped goes on as if it still owned the shard");
}
