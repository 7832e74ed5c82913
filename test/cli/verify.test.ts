import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import type { Epoch, ObjectKey, ShardId } from "../../src/domain.ts";
import { Engine } from "../../src/engine/engine.ts";
import { createFsStore } from "../../src/object-store/fs-store.ts";
import { dataKey } from "../../src/object-store/object-names.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";
import {
  bytesOf,
  checkpoint,
  dataObjects,
  extentsAt,
  filledStore,
  index,
  put,
} from "../engine/verify/damaged-store.ts";
import { mergedStore } from "../engine/verify/merged-store.ts";
import { damage, flipped } from "../index-chain/links.ts";
import { testConfig, values } from "../support/engine.ts";
import { tierlog, type Ended } from "./tierlog.ts";

let cwd: string;
let store: ObjectStore;
beforeEach(async () => {
  cwd = await mkdtemp(join(tmpdir(), "tierlog-verify-cli-"));
  const { fileSystem, random } = systemRuntime;
  store = await filledStore(createFsStore({ root: join(cwd, "tierlog-data", "store"), fileSystem, random }));
});
afterEach(() => rm(cwd, { recursive: true, force: true }));

const run = (...argv: string[]): Promise<Ended> => tierlog(cwd, argv);
const json = (line: string): Record<string, unknown> => JSON.parse(line) as Record<string, unknown>;
const lines = (text: string): Record<string, unknown>[] => text.trimEnd().split("\n").map(json);

describe("tierlog verify", () => {
  test("a store without damage: summary, exit code 0, nothing on stderr in a pipe", async () => {
    const { exitCode, stdout, stderr } = await run("verify", "--deep");
    expect([exitCode, stderr]).toEqual([0, ""]);
    for (const told of [
      /^catalogs +3$/m,
      /^shards +1$/m,
      /^index files +10 live, 0 void$/m,
      /^checkpoints +2$/m,
      /^data objects +2, 12\.\d MiB$/m,
      /^extents +16 with 408 records, /m,
      /^checked deep +\d+ batches, 408 records, 12\.\d MiB$/m,
      /^unreferenced +0 data objects, 0 B$/m,
      /^time +\d+\.\d s$/m,
      /\nNo damage was found\.\n$/,
    ]) {
      expect(stdout).toMatch(told);
    }
    expect((await run("verify")).stdout).toMatch(/^checked deep +not asked for: --deep$/m);
  });

  test("damage: a table with code, object, byte and offsets; exit code 65; a notice alone is none", async () => {
    await put(store, "notes.txt" as ObjectKey, Buffer.from("x"));
    expect((await run("verify")).exitCode).toBe(0);
    const [first] = await dataObjects(store);
    await store.delete([first]);
    await damage(store, checkpoint(7), flipped(90));
    const { exitCode, stdout } = await run("verify");
    expect(exitCode).toBe(65);
    expect(stdout).toMatch(/^SEVERITY +CODE +OBJECT +BYTE +OFFSETS +PROBLEM$/m);
    expect(stdout).toMatch(/^notice +foreign-object +notes\.txt +- +- +tierlog has no object of this name/m);
    expect(stdout).toMatch(/^damage +damaged-checkpoint +checkpoint\/0000\/0+7\.ckpt +64 +- +body fails its CRC32C/m);
    expect(stdout).toMatch(
      new RegExp(`^damage +missing-data-object +${first} +- +events/0 8 … 103 and 1 more ranges +does not exist`, "m"),
    );
    expect(stdout).toContain("Damage was found: damaged-checkpoint 1, missing-data-object 1. docs/verify.md");
  });

  test("--json: every field, null for what is not known", async () => {
    const orphan = dataKey(0 as ShardId, 1 as Epoch, 90, "0f00112233445566");
    await put(store, orphan, Buffer.alloc(100));
    const [extent] = await extentsAt(store, 4);
    const position = extent?.position ?? 0;
    await damage(store, index(4), flipped(position + 70));
    const { exitCode, stdout } = await run("verify", "--deep", "--json");
    expect(exitCode).toBe(65);
    const shown = json(stdout);
    expect(Object.keys(shown)).toEqual(["clean", "storeId", "deep", "findings", "counts", "unreferenced", "totals"]);
    expect(shown).toMatchObject({
      clean: false,
      deep: true,
      findings: [
        {
          code: "damaged-batch",
          severity: "damage",
          key: index(4),
          position,
          offsets: [{ topic: "events", partition: 0, firstOffset: 6, nextOffset: 8 }],
          offsetsLeftOut: 0,
        },
      ],
      counts: { "damaged-batch": 1 },
      unreferenced: { objects: 1, bytes: 100, listed: [{ key: orphan, sizeBytes: 100 }] },
      totals: { liveLinks: 10, checkedRecords: 408 },
    });
    const [topicOnly] = lines((await run("verify", "--topic", "events", "--json")).stdout);
    expect(topicOnly).toMatchObject({ clean: true, unreferenced: null });
  });

  test("progress on a terminal: objects and bytes of all", async () => {
    const { exitCode, stderr } = await tierlog(cwd, ["verify", "--deep"], { terminal: true });
    expect(exitCode).toBe(0);
    expect(stderr).toMatch(/looking at the store: 0 objects/);
  });

  test.each([
    [["verify", "--topic", "event"], 66, 'topic "event" does not exist'],
    [["verify", "--shard", "9"], 64, "nothing was ever written to it"],
    [["verify", "--shard", "x"], 64, "--shard"],
    [["verify", "events"], 64, "one argument too many"],
    [["verify", "--set", "system.storage.kind=memory"], 78, "nothing to verify"],
    [["verify", "--set", "system.storage.object.prefix=other"], 66, "a store at prefix other does not exist"],
  ])("%j ends with %d", async (argv, code, told) => {
    const { exitCode, stdout, stderr } = await run(...argv);
    expect([exitCode, stdout]).toEqual([code, ""]);
    expect(stderr).toContain(told);
  });
});

describe("tierlog dump", () => {
  test("an index file by the end of its key, its batches, and its records", async () => {
    const { exitCode, stdout } = await run("dump", "00000000000000000004.idx", "--records");
    expect(exitCode).toBe(0);
    expect(stdout.split("\n")[0]).toMatch(/^object: key index\/0000\/0+4\.idx, kind index, size bytes \d+$/);
    expect(stdout).toMatch(/^header at 0: shard 0, seq 4, epoch 1, directory bytes \d+, payload bytes \d+$/m);
    expect(stdout).toMatch(/^link at 64: write id [0-9a-f]{32}, prev [0-9a-f]{32}, writer id /m);
    expect(stdout).toMatch(/^entry: entry append, data objects 0, extents 2$/m);
    expect(stdout).toMatch(/^ {2}extent at \d+: object inline, topic id [0-9a-f]{32}, partition 1, /m);
    expect(stdout).toMatch(/^ {4}batch at \d+: base offset 6, next offset 8, records 2, .*codec lz4/m);
    expect(stdout).toMatch(/^ {6}record: offset 7, timestamp ms \d+, key null, value "second of 4 /m);
    const types = lines((await run("dump", index(4), "--json")).stdout).map(({ type }) => type);
    expect(types).toEqual(["object", "header", "link", "entry", "extent", "batch", "extent", "batch"]);
  });

  test("a data object, a checkpoint, a catalog, FORMAT", async () => {
    const [first] = await dataObjects(store);
    const object = lines((await run("dump", first, "--json")).stdout);
    expect(object.slice(0, 3)).toMatchObject([
      { type: "object", key: first, kind: "data" },
      { type: "footer", shard: 0, epoch: 1, extents: 2 },
      { type: "extent", partition: 0, baseOffset: 8, nextOffset: 104 },
    ]);
    const batches = object.filter(({ type }) => type === "batch");
    expect(batches.reduce((sum, { records }) => sum + Number(records), 0)).toBe(192);
    const state = lines((await run("dump", "7.ckpt", "--json")).stdout);
    expect(state).toMatchObject([
      { type: "object", kind: "checkpoint" },
      { type: "header", shard: 0, seq: 7 },
      { type: "state", liveLinks: 8, released: false, dataObjects: 2, partitions: 2 },
      { type: "fence", seq: 0, epoch: 1 },
      { type: "data-object", object: 1, key: first },
      { type: "data-object", object: 2 },
      { type: "partition", partition: 0, startOffset: 0, nextOffset: 202, extents: 7 },
      ...Array.from({ length: 7 }, () => ({ type: "extent" })),
      { type: "partition", partition: 1 },
      ...Array.from({ length: 7 }, () => ({ type: "extent" })),
    ]);
    expect((await run("dump", "3.json")).stdout).toContain('"name": "events"');
    expect((await run("dump", "FORMAT")).stdout).toContain('"format": "tierlog"');
  });

  test("a replace, a boundary, and a checkpoint with one", async () => {
    const { store: merged, segments } = await mergedStore();
    for (const key of [index(11), index(16), checkpoint(17)]) await put(store, key, await bytesOf(merged, key));
    const replace = lines((await run("dump", index(11), "--json")).stdout);
    expect(replace.slice(3)).toMatchObject([
      {
        type: "entry",
        entry: "replace",
        dataObjects: 2,
        ranges: 2,
        extents: 2,
        superseded: expect.any(String) as string,
      },
      { type: "data-object", object: 1, key: segments[0] },
      { type: "data-object", object: 2, key: segments[1] },
      { type: "superseded", partition: 0, baseOffset: 0, nextOffset: 204, count: 8 },
      { type: "superseded", partition: 1, baseOffset: 0, nextOffset: 204, count: 8 },
      { type: "extent", object: segments[0], position: 0, partition: 0, baseOffset: 0, nextOffset: 204 },
      { type: "extent", object: segments[1], position: 0, partition: 1, baseOffset: 0, nextOffset: 204 },
    ]);
    const text = await run("dump", index(11));
    expect(text.exitCode).toBe(0);
    expect(text.stdout).toMatch(
      /^entry: entry replace, data objects 2, ranges 2, extents 2, superseded [0-9a-f]{32}$/m,
    );
    expect(text.stdout).toMatch(
      /^ {2}superseded: topic id [0-9a-f]{32}, partition 1, base offset 0, next offset 204, count 8$/m,
    );
    expect((await run("dump", index(16))).stdout).toMatch(/^entry: entry boundary, seq 12$/m);
    const state = lines((await run("dump", checkpoint(17), "--json")).stdout);
    expect(state.slice(2, 6)).toMatchObject([
      { type: "state", boundary: 12, dataObjects: 2, partitions: 2 },
      { type: "fence", seq: 10, epoch: 2 },
      { type: "data-object", object: 1, key: segments[0] },
      { type: "data-object", object: 2, key: segments[1] },
    ]);
  });

  test("damage is shown where it begins, behind what could be read; exit code 65", async () => {
    await damage(store, index(1), flipped(100));
    const directory = await run("dump", index(1), "--json");
    expect([directory.exitCode, lines(directory.stdout).slice(1)]).toMatchObject([
      65,
      [
        { type: "header", seq: 1 },
        { type: "damage", position: 64, problem: "directory fails its CRC32C" },
      ],
    ]);
    const [, extent] = await extentsAt(store, 4);
    await damage(store, index(4), flipped((extent?.position ?? 0) + 70));
    const payload = await run("dump", index(4));
    expect(payload.exitCode).toBe(65);
    expect(payload.stdout.trimEnd().split("\n").slice(-2)).toEqual([
      expect.stringMatching(/^ {4}batch at \d+: base offset 6/),
      expect.stringMatching(new RegExp(`^ {6}damage at ${extent?.position}: CRC of the batch`)),
    ]);
    await put(store, index(2), await bytesOf(store, index(3)));
    expect((await run("dump", index(2))).stdout).toContain(
      "damage at 12: stands under a wrong name: it is seq 3 of shard 0",
    );
  });

  test("a data object without a whole footer: its batches all the same", async () => {
    const [first] = await dataObjects(store);
    const whole = lines((await run("dump", first, "--json")).stdout).filter(({ type }) => type === "batch");
    await damage(store, first, (bytes) => bytes.slice(0, -8));
    const { exitCode, stdout } = await run("dump", first, "--json");
    const items = lines(stdout);
    expect([exitCode, items[1]?.["type"]]).toEqual([65, "damage"]);
    expect(items.slice(2)).toEqual(whole);
  });

  /** Leaves two records in the journal: the store is gone before they are uploaded. */
  async function journaledRecords(): Promise<string> {
    let isCut = false;
    const cut: ObjectStore = {
      ...store,
      put: (...args) => (isCut ? Promise.reject(new Error("cut off")) : store.put(...args)),
    };
    const journal = { path: join(cwd, "tierlog-data", "journal"), uploadIntervalMs: 600_000 };
    const config = testConfig({ path: cwd, storage: { object: { ackAfterUpload: false } }, journal });
    const engine = await Engine.open({ ...config, shutdownTimeoutMs: 200 }, { objectStore: cut });
    const partition = (await engine.topic("events")).partition(0);
    await partition.append(values("one"));
    await partition.append(values("two"));
    isCut = true;
    expect((await engine.close()).journaled).toMatchObject([{ records: 2 }]);
    return join("tierlog-data", "journal", "0000", "0000.jrn");
  }

  test("a file of a journal with its records, and the frame that is damaged", async () => {
    const path = await journaledRecords();
    const { exitCode, stdout } = await run("dump", path, "--records", "--json");
    expect(exitCode).toBe(0);
    const items = lines(stdout);
    expect(items.slice(0, 2)).toMatchObject([{ type: "object" }, { type: "journal", slot: 0 }]);
    expect(items.filter(({ type }) => type === "record")).toMatchObject([
      { offset: 202 + 2, value: "one" },
      { offset: 202 + 3, value: "two" },
    ]);
    const [first] = items.filter(({ type }) => type === "frame");
    const position = Number(first?.["position"]);
    const file = join(cwd, path);
    await writeFile(file, flipped(position + 150)(await readFile(file)));
    const damaged = await run("dump", path);
    expect(damaged.exitCode).toBe(65);
    expect(damaged.stdout).toContain(`damage at ${position}: its bytes do not match their CRC`);
  });

  test.each([
    [["dump", "99.idx"], 66, "an object whose name ends with"],
    [["dump", "index/0000/00000000000000000099.idx"], 66, "tierlog verify shows what is missing"],
    [["dump", ".idx"], 64, "10 objects end so: index/0000/00000000000000000000.idx, "],
    [["dump", "nothing.jrn"], 66, "nothing.jrn does not exist"],
    [["dump"], 64, "NAME: is missing"],
  ])("%j ends with %d", async (argv, code, told) => {
    const { exitCode, stdout, stderr } = await run(...argv);
    expect([exitCode, stdout]).toEqual([code, ""]);
    expect(stderr).toContain(told);
  });
});
