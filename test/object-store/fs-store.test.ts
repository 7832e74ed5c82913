import { mkdir, mkdtemp, readFile, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import type { ObjectKey } from "../../src/domain.ts";
import { createFsStore, sweepTemporaries } from "../../src/object-store/fs-store.ts";
import type { MultipartUpload, ObjectStore, UploadedPart } from "../../src/object-store/object-store.ts";
import { settling } from "../../src/object-store/settling.ts";
import { nodeFileSystem, type FileSystem } from "../../src/runtime/file-system.ts";
import { seededRandom, systemRandom } from "../../src/runtime/random.ts";
import { VirtualClock } from "../support/virtual-clock.ts";

const KEY = "index/0000/00000000000000000000.idx" as ObjectKey;
const BODY = Buffer.from("whole object");
const IF_ABSENT = { condition: { kind: "if-absent" } } as const;
const REPLACE = { condition: { kind: "none" } } as const;

type Call = keyof FileSystem;

let root: string;
let calls: { call: Call; path: string }[];
/** Consulted before each call; throws to fail it. */
let before: (call: Call, path: string) => void;
let fileSystem: FileSystem;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "tierlog-fs-store-"));
  calls = [];
  before = () => undefined;
  const watched = <Args extends [string, ...unknown[]], T>(
    call: Call,
    run: (...args: Args) => Promise<T>,
  ): ((...args: Args) => Promise<T>) => {
    return async (...args) => {
      calls.push({ call, path: args[0].slice(root.length + 1) });
      before(call, args[0]);
      return run(...args);
    };
  };
  fileSystem = {
    read: watched("read", (...args) => nodeFileSystem.read(...args)),
    stat: watched("stat", (...args) => nodeFileSystem.stat(...args)),
    writeNew: watched("writeNew", (...args) => nodeFileSystem.writeNew(...args)),
    concatenate: (sources, target) =>
      watched("concatenate", (path: string) => nodeFileSystem.concatenate(sources, path))(target),
    link: watched("link", (...args) => nodeFileSystem.link(...args)),
    rename: watched("rename", (...args) => nodeFileSystem.rename(...args)),
    remove: watched("remove", (...args) => nodeFileSystem.remove(...args)),
    makeDirectory: watched("makeDirectory", (...args) => nodeFileSystem.makeDirectory(...args)),
    syncDirectory: watched("syncDirectory", (...args) => nodeFileSystem.syncDirectory(...args)),
    list: watched("list", (...args) => nodeFileSystem.list(...args)),
    kind: watched("kind", (...args) => nodeFileSystem.kind(...args)),
    open: watched("open", (...args) => nodeFileSystem.open(...args)),
  };
});

afterEach(() => rm(root, { recursive: true, force: true }));

function open(): ObjectStore {
  return createFsStore({ root, fileSystem, random: systemRandom });
}

function fail(code: string): Error {
  return Object.assign(new Error(code), { code });
}

async function keys(store: ObjectStore): Promise<string[]> {
  const found: string[] = [];
  for await (const { key } of store.list("")) found.push(key);
  return found;
}

const temporaries = (): Promise<string[]> => readdir(join(root, ".tmp")).catch(() => []);

test("the keys of tierlog are readable on disk, and the files hold just the bytes", async () => {
  const store = open();
  for (const key of [KEY, "catalog/00000000000000000001.json", "data/ab/0000-0000000001-0000000000-ff.log", "FORMAT"]) {
    await store.put(key as ObjectKey, BODY, IF_ABSENT);
  }
  const files = (await readdir(root, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1));
  expect(files.sort()).toEqual([
    "FORMAT.~3f",
    "catalog/00000000000000000001.json",
    "data/ab/0000-0000000001-0000000000-ff.log",
    "index/0000/00000000000000000000.idx",
  ]);
  expect(await readFile(join(root, KEY))).toEqual(BODY);
});

test("the order that makes a put durable: file synced, named, directory synced; every new directory synced into its parent", async () => {
  await open().put(KEY, BODY, IF_ABSENT);
  const steps = calls.filter(({ call }) => call !== "stat").map(({ call, path }) => `${call} ${path}`);
  expect(steps.map((step) => step.replace(/[0-9a-f]{32}/, "TEMP"))).toEqual([
    "makeDirectory ",
    "makeDirectory index",
    "syncDirectory ",
    "makeDirectory index/0000",
    "syncDirectory index",
    "makeDirectory .tmp",
    "syncDirectory ",
    "writeNew .tmp/TEMP",
    "link .tmp/TEMP",
    "syncDirectory index/0000",
    "remove .tmp/TEMP",
  ]);
});

test("a directory that a dead process made is synced all the same", async () => {
  await mkdir(join(root, "index/0000"), { recursive: true });
  await open().put(KEY, BODY, IF_ABSENT);
  const synced = calls.filter(({ call }) => call === "syncDirectory").map(({ path }) => path);
  expect(synced).toEqual(expect.arrayContaining(["", "index", "index/0000"]));
});

describe("what a crash or a stranger leaves behind", () => {
  test("temporaries are no objects, and a sweep removes them", async () => {
    const store = open();
    await store.put(KEY, BODY, IF_ABSENT);
    await writeFile(join(root, ".tmp/0123456789abcdef0123456789abcdef"), "half of an obj");
    expect(await keys(open())).toEqual([KEY]);
    expect(await store.get(".tmp/0123456789abcdef0123456789abcdef" as ObjectKey)).toBeUndefined();
    expect(await sweepTemporaries({ root, fileSystem })).toBe(1);
    expect(await temporaries()).toEqual([]);
    expect(await keys(store)).toEqual([KEY]);
    expect(await sweepTemporaries({ root: join(root, "nowhere"), fileSystem })).toBe(0);
  });

  test("a put whose temporary is swept under it fails with effect none", async () => {
    before = (call) => {
      if (call === "link") throw fail("ENOENT");
    };
    const put = open().put(KEY, BODY, IF_ABSENT);
    await expect(put).rejects.toMatchObject({ retryable: true, effect: "none" });
  });

  test("files and links that no put would write are not listed, and links are not followed", async () => {
    const store = open();
    await store.put("a/b.txt" as ObjectKey, BODY, IF_ABSENT);
    await writeFile(join(root, ".DS_Store"), "x");
    await writeFile(join(root, "no-dot"), "x");
    await writeFile(join(root, "bad%zz.txt"), "x");
    await mkdir(join(root, "dir.with.dots"));
    await symlink("/etc/passwd", join(root, "a/link.txt"));
    expect(await keys(store)).toEqual(["a/b.txt"]);
    await expect(store.get("a/link.txt" as ObjectKey)).rejects.toMatchObject({ retryable: false });
    expect(await store.head("a/link.txt" as ObjectKey)).toBeUndefined();
  });
});

describe("a disk that fails", () => {
  // Which call fails, and what the caller may conclude.
  const steps: [Call, "first" | "last", "none" | "unknown"][] = [
    ["makeDirectory", "first", "none"],
    ["syncDirectory", "first", "none"],
    ["writeNew", "first", "none"],
    ["stat", "first", "none"],
    ["link", "first", "none"],
    ["syncDirectory", "last", "unknown"],
  ];

  for (const code of ["ENOSPC", "EIO"]) {
    test.each(steps)(
      `${code} at %s (%s): effect %s after it, no half object, and the key can be written later`,
      async (call, which, effect) => {
        const store = open();
        // The last sync of a put is the one of the object's own directory.
        const hit = (seen: Call, path: string): boolean =>
          seen === call && (which === "first" || path.endsWith("index/0000"));
        before = (seen, path) => {
          if (hit(seen, path)) throw fail(code);
        };
        const put = store.put(KEY, BODY, IF_ABSENT);
        await expect(put).rejects.toMatchObject({ code: "TIERLOG_OBJECT_STORE", retryable: true, effect });
        await expect(put).rejects.toThrow(code);
        before = () => undefined;
        expect(await temporaries()).toEqual([]);
        const there = (await store.head(KEY)) !== undefined;
        expect(there).toBe(effect === "unknown");
        const again = await store.put(KEY, BODY, IF_ABSENT);
        expect(again.kind).toBe(there ? "condition-failed" : "written");
        expect(Buffer.from((await store.get(KEY))?.body ?? []).toString()).toBe(BODY.toString());
      },
    );
  }

  test("a name whose directory was never synced is not vouched for, so a read-back cannot make it 'written'", async () => {
    const inner = open();
    before = (call, path) => {
      if (call === "syncDirectory" && path.endsWith("index/0000")) throw fail("EIO");
    };
    const failed = await inner.put(KEY, BODY, IF_ABSENT).catch((error: unknown) => error);
    expect(failed).toMatchObject({ effect: "unknown" });
    await expect(inner.get(KEY)).rejects.toMatchObject({ retryable: true });
    await expect(inner.head(KEY)).rejects.toMatchObject({ retryable: true });
    await expect(keys(inner)).rejects.toMatchObject({ retryable: true });
    await expect(inner.put(KEY, BODY, IF_ABSENT)).rejects.toMatchObject({ retryable: true });
    before = () => undefined;
    expect(await inner.get(KEY)).toMatchObject({ sizeBytes: BODY.length });
  });

  test("with the settling wrapper a failed sync is settled once the disk is back", async () => {
    let syncs = 0;
    before = (call, path) => {
      if (call !== "syncDirectory" || !path.endsWith("index/0000")) return;
      syncs += 1;
      if (syncs <= 2) throw fail("EIO");
    };
    const clock = new VirtualClock();
    const store = settling(open(), { clock, random: seededRandom(1), deadlineMs: 60_000 });
    const put = store.put(KEY, BODY, IF_ABSENT);
    // Real I/O between the waits: move time whenever a wait is due.
    const ticker = setInterval(() => {
      if (clock.pending > 0 && clock.now() < 10_000 && syncs > 0) clock.runNext();
    }, 20);
    expect(await put).toMatchObject({ kind: "written" });
    clearInterval(ticker);
    expect(syncs).toBe(3);
  });

  test.each([
    ["EACCES", false],
    ["EROFS", false],
    ["ENOSPC", true],
    ["EMFILE", true],
    ["EWHATEVER", true],
  ])("%s: retryable %s", async (code, retryable) => {
    before = (call) => {
      if (call === "writeNew" || call === "read" || call === "remove") throw fail(code);
    };
    const store = open();
    await expect(store.put(KEY, BODY, IF_ABSENT)).rejects.toMatchObject({ retryable, effect: "none" });
    await expect(store.get(KEY)).rejects.toMatchObject({ retryable, effect: "none" });
  });

  test("a rename that fails leaves the old object", async () => {
    const store = open();
    await store.put(KEY, Buffer.from("old"), REPLACE);
    before = (call) => {
      if (call === "rename") throw fail("EIO");
    };
    await expect(store.put(KEY, BODY, REPLACE)).rejects.toMatchObject({ effect: "none" });
    expect(Buffer.from((await store.get(KEY))?.body ?? []).toString()).toBe("old");
    expect(await temporaries()).toEqual([]);
  });

  test("a temporary that cannot be removed does not fail a put that is stored", async () => {
    before = (call) => {
      if (call === "remove") throw fail("EIO");
    };
    expect(await open().put(KEY, BODY, IF_ABSENT)).toMatchObject({ kind: "written" });
    expect(await temporaries()).toHaveLength(1);
  });

  test("a file shorter than its size is an error, not a smaller object", async () => {
    const store = open();
    await store.put(KEY, BODY, IF_ABSENT);
    fileSystem.read = async (path, range) => {
      const content = await nodeFileSystem.read(path, range);
      return { ...content, bytes: content.bytes.subarray(0, 3) };
    };
    await expect(store.get(KEY)).rejects.toMatchObject({ code: "TIERLOG_OBJECT_STORE" });
  });
});

describe("uploads in parts", () => {
  const PART = new Uint8Array(5 * 1024 * 1024).fill(1);
  const END = Buffer.from("end");
  const WHOLE = Buffer.concat([PART, END]);

  // Not `toEqual`: that takes seconds for each MiB.
  const isWhole = async (): Promise<boolean> => Buffer.compare(await readFile(join(root, KEY)), WHOLE) === 0;
  const uploaded = async (store: ObjectStore): Promise<{ upload: MultipartUpload; parts: UploadedPart[] }> => {
    const upload = await store.createMultipart(KEY);
    return { upload, parts: [await upload.putPart(1, PART), await upload.putPart(2, END)] };
  };

  test("the order that makes one durable: one file synced, named, directory synced; only then the parts go", async () => {
    const { upload, parts } = await uploaded(open());
    expect(await temporaries()).toHaveLength(2);
    calls = [];
    await upload.complete(parts);
    const steps = calls.filter(({ call }) => call !== "stat").map(({ call, path }) => `${call} ${path}`);
    expect(steps.map((step) => step.replace(/[0-9a-f]{32}/, "TEMP"))).toEqual([
      "concatenate .tmp/TEMP",
      "makeDirectory index",
      "syncDirectory ",
      "makeDirectory index/0000",
      "syncDirectory index",
      "rename .tmp/TEMP",
      "syncDirectory index/0000",
      "remove .tmp/TEMP",
      "remove .tmp/TEMP",
    ]);
    expect(await isWhole()).toBe(true);
    expect(await temporaries()).toEqual([]);
  });

  test("what a crash leaves of one is no object, and is swept", async () => {
    await uploaded(open());
    expect(await keys(open())).toEqual([]);
    expect(await sweepTemporaries({ root, fileSystem })).toBe(2);
    expect(await temporaries()).toEqual([]);
  });

  test.each<[Call, "none" | "unknown"]>([
    ["concatenate", "none"],
    ["stat", "none"],
    ["rename", "none"],
    ["makeDirectory", "none"],
    ["syncDirectory", "unknown"],
  ])("EIO at %s: effect %s, nothing half, and the completion can be repeated", async (call, effect) => {
    const store = open();
    const { upload, parts } = await uploaded(store);
    before = (seen, path) => {
      if (seen === call && (call !== "syncDirectory" || path.endsWith("index/0000"))) throw fail("EIO");
    };
    const failed = upload.complete(parts);
    await expect(failed).rejects.toMatchObject({ code: "TIERLOG_OBJECT_STORE", retryable: true, effect });
    if (effect === "none") before = () => undefined;
    const vouched = await store.head(KEY).then(
      (info) => info !== undefined,
      () => false,
    );
    expect(vouched).toBe(false);
    before = () => undefined;
    expect(await temporaries()).toHaveLength(2);
    calls = [];
    expect(await upload.complete(parts)).toEqual({ kind: "completed" });
    // An object that has its name is not made again: readers may have seen it.
    expect(calls.some((seen) => seen.call === "rename")).toBe(effect === "none");
    expect(await isWhole()).toBe(true);
    expect(await temporaries()).toEqual([]);
  });

  test("EIO at a part: effect none, no file left, and the part can be sent again", async () => {
    const upload = await open().createMultipart(KEY);
    for (const call of ["writeNew", "stat"] as const) {
      before = (seen) => {
        if (seen === call) throw fail("EIO");
      };
      await expect(upload.putPart(1, END)).rejects.toMatchObject({ retryable: true, effect: "none" });
    }
    before = () => undefined;
    expect(await temporaries()).toEqual([]);
    await upload.complete([await upload.putPart(1, END)]);
    expect(await readFile(join(root, KEY))).toEqual(END);
  });

  test("a part that lands behind the abort leaves no file", async () => {
    const upload = await open().createMultipart(KEY);
    fileSystem.writeNew = async (...args) => {
      await nodeFileSystem.writeNew(...args);
      await upload.abort();
    };
    await expect(upload.putPart(1, END)).rejects.toMatchObject({ status: 404, retryable: false });
    expect(await temporaries()).toEqual([]);
  });

  test("parts that lost bytes on the disk make no object", async () => {
    const { upload, parts } = await uploaded(open());
    for (const name of await temporaries()) await writeFile(join(root, ".tmp", name), "short");
    await expect(upload.complete(parts)).rejects.toMatchObject({ code: "TIERLOG_OBJECT_STORE", effect: "none" });
    expect(await keys(open())).toEqual([]);
  });
});

test("20 if-match writers of one process, over two stores, count to 20 without losing one", async () => {
  const stores = [open(), open()];
  await open().put(KEY, Buffer.from("00"), REPLACE);
  const increment = async (store: ObjectStore): Promise<void> => {
    for (;;) {
      const current = await store.get(KEY);
      if (current === undefined) throw new Error("gone");
      const next = String(Number(Buffer.from(current.body).toString()) + 1).padStart(2, "0");
      const condition = { kind: "if-match", etag: current.etag } as const;
      if ((await store.put(KEY, Buffer.from(next), { condition })).kind === "written") return;
    }
  };
  await Promise.all(Array.from({ length: 20 }, (_, i) => increment(stores[i % 2] as ObjectStore)));
  expect(Buffer.from((await open().get(KEY))?.body ?? []).toString()).toBe("20");
});
