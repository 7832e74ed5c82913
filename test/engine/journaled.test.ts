import { afterEach, expect, test } from "vitest";

import type { Config } from "../../src/config/config.ts";
import { Cluster, readAll, testConfig, values } from "../support/engine.ts";
import { SimulatedDisk } from "../support/simulated-disk.ts";

const TOPIC = "events";
let cluster = new Cluster();

afterEach(async () => {
  await cluster.close();
  cluster = new Cluster();
});

/** Journaled; nothing is uploaded that nobody waits for. */
function config(overrides: Partial<Config> = {}): Config {
  const journal = { uploadIntervalMs: 3_600_000, maxSizeBytes: 16 * 1024 * 1024 };
  return { ...testConfig({ storage: { object: { ackAfterUpload: false } }, journal }), ...overrides };
}

async function openOn(disk: SimulatedDisk, overrides: Partial<Config> = {}) {
  return await cluster.open(config(overrides), { runtime: { fileSystem: disk } });
}

test("frames whose offsets hold another writer's records are not taken for uploaded", async () => {
  const first = await openOn(new SimulatedDisk());
  await first.createTopic(TOPIC, { partitions: 1 });
  const partition = (await first.topic(TOPIC)).partition(0);
  await partition.append(values("a"));

  const second = await openOn(new SimulatedDisk());
  await (await second.topic(TOPIC)).partition(0).append(values("x", "y", "z"), { ack: "uploaded" });

  await expect(partition.append(values("b"), { ack: "uploaded" })).rejects.toMatchObject({
    kind: "fenced",
    effect: "none",
  });
  await first.close();
  expect(first.recoveryReports()).toMatchObject([{ outcome: "set-aside", setAside: { records: 2 } }]);
  expect(await readAll((await second.topic(TOPIC)).partition(0))).toEqual(["x", "y", "z"]);
});
