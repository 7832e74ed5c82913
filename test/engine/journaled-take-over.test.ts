import { cp, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test } from "vitest";

import { loadConfig } from "../../src/config/load-config.ts";
import { Engine } from "../../src/engine/engine.ts";

let directory: string;
const open: Engine[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "tierlog-journaled-"));
});

afterEach(async () => {
  await Promise.allSettled(open.splice(0).map((engine) => engine.close()));
  await rm(directory, { recursive: true, force: true });
});

/** An engine over the store in `data`, with a journal of its own. */
async function node(journal: string, data = "data"): Promise<Engine> {
  const text = `
[system]
path = "${join(directory, data)}"
[system.storage]
kind = "fs"
[system.storage.object]
ack_after_upload = false
[system.journal]
path = "${join(directory, journal)}"
file_size = "4 MiB"
max_size = "8 MiB"
upload_interval = "1h"
[system.flush]
linger = "0ms"
`;
  const { config } = await loadConfig({
    file: "c.toml",
    env: {},
    cwd: directory,
    readText: () => Promise.resolve(text),
  });
  const engine = await Engine.open(config);
  open.push(engine);
  return engine;
}

const record = (text: string): { value: Uint8Array } => ({ value: Buffer.from(text) });

test("a fenced owner does not take the other's records for its own: I1, I4", async () => {
  const former = await node("a");
  await former.createTopic("t", { partitions: 1 });
  const mine = (await former.topic("t")).partition(0);
  await mine.append([record("first")], { ack: "uploaded" });
  await mine.append([record("journaled")], { ack: "journaled" });

  const taker = await node("b");
  const theirs = (await taker.topic("t")).partition(0);
  // Offsets 1 … 3, where the former owner's journal holds records too.
  await theirs.append([record("x"), record("y"), record("z")], { ack: "uploaded" });

  await expect(mine.append([record("late")], { ack: "uploaded" })).rejects.toMatchObject({ code: "TIERLOG_FENCED" });
  await former.close();
  expect(former.recoveryReports()).toMatchObject([{ outcome: "set-aside", setAside: { frames: 2, records: 2 } }]);
  expect(await readdir(join(directory, "a", "0000", "aside"))).toHaveLength(1);
});

test("a lost journal is named before anything is acknowledged again", async () => {
  const first = await node("a");
  await first.createTopic("t", { partitions: 1 });
  const partition = (await first.topic("t")).partition(0);
  await partition.append([record("uploaded")], { ack: "uploaded" });
  await partition.append([record("lost")], { ack: "journaled" });
  // As the machine's disk and its process are gone: the store alone is left.
  await cp(join(directory, "data"), join(directory, "copy"), { recursive: true });

  const second = await node("b", "copy");
  const again = (await second.topic("t")).partition(0);
  const { firstOffset } = await again.append([record("next")], { ack: "journaled" });
  expect(second.recoveryReports()).toMatchObject([
    { outcome: "disk-lost", mayBeLost: [{ topic: "t", partition: 0, firstOffset: 1 }] },
  ]);
  expect(firstOffset).toBe(1);
});
