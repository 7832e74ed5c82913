import { afterEach, beforeEach, describe, expect, test } from "vitest";

import type { ETag, ObjectKey } from "../../src/domain.ts";
import { bareETag } from "../../src/object-store/etag.ts";
import { compareKeys } from "../../src/object-store/object-key.ts";
import type { ListOptions, ObjectStore } from "../../src/object-store/object-store.ts";

export interface StoreUnderTest {
  readonly store: ObjectStore;
  /** A second handle on the same objects, as another process would have. */
  readonly other: ObjectStore;
  /** 1024 less what the store puts before a key. */
  readonly keyBytesMax: number;
  /** Called after both stores were closed. */
  cleanUp?(): Promise<void>;
}

/** What every `ObjectStore` does. Each test gets an empty store. */
export function describeObjectStore(name: string, makeStore: () => Promise<StoreUnderTest>): void {
  describe(`object store: ${name}`, () => {
    let target: StoreUnderTest;
    let store: ObjectStore;

    beforeEach(async () => {
      target = await makeStore();
      store = target.store;
    });

    afterEach(async () => {
      await target.store.close();
      await target.other.close();
      await target.cleanUp?.();
    });

    const put = (key: string, body: Uint8Array): ReturnType<ObjectStore["put"]> =>
      store.put(k(key), body, { condition: { kind: "none" } });
    const create = (key: string, body: Uint8Array, on = store): ReturnType<ObjectStore["put"]> =>
      on.put(k(key), body, { condition: { kind: "if-absent" } });
    const text = async (key: string): Promise<string | undefined> => {
      const object = await store.get(k(key));
      return object && new TextDecoder().decode(object.body);
    };
    const keys = async (prefix: string, options?: ListOptions): Promise<string[]> => {
      const found: string[] = [];
      for await (const info of store.list(prefix, options)) found.push(info.key);
      return found;
    };

    describe("get, head, put, delete", () => {
      test("a missing object is undefined, not an error", async () => {
        expect(await store.get(k("a/missing"))).toBeUndefined();
        expect(await store.head(k("a/missing"))).toBeUndefined();
        expect(await store.get(k("a/missing"), { range: { start: 0, end: 4 } })).toBeUndefined();
        expect(await keys("")).toEqual([]);
      });

      test("an object comes back whole, with its size and one bare ETag everywhere", async () => {
        const body = pattern(100_000);
        const outcome = await put("data/ab/object.log", body);
        const object = await store.get(k("data/ab/object.log"));
        const info = await store.head(k("data/ab/object.log"));
        expect(Buffer.compare(object?.body ?? bytes(""), body)).toBe(0);
        expect(object?.sizeBytes).toBe(100_000);
        expect(info).toEqual({ key: "data/ab/object.log", sizeBytes: 100_000, etag: object?.etag });
        expect(outcome).toEqual({ kind: "written", etag: object?.etag });
        expect(object?.etag).not.toBe("");
        expect(bareETag(object?.etag)).toBe(object?.etag);
        for await (const listed of store.list("")) expect(listed).toEqual(info);
      });

      test("a put without a condition replaces, under a new ETag", async () => {
        const first = await put("k", bytes("first"));
        const second = await put("k", bytes("second, longer"));
        expect(await text("k")).toBe("second, longer");
        expect(second).not.toEqual(first);
      });

      test("an empty object exists", async () => {
        await put("empty", bytes(""));
        expect(await text("empty")).toBe("");
        expect((await store.head(k("empty")))?.sizeBytes).toBe(0);
        expect(await keys("")).toEqual(["empty"]);
      });

      test("deleting many deletes them all, and a missing key counts as deleted", async () => {
        const names = Array.from({ length: 30 }, (_, i) => `d/${i}`);
        for (const name of names) await put(name, bytes(name));
        await put("stays", bytes("x"));
        await store.delete([...names, "d/never", "x/never/there"].map(k));
        expect(await keys("")).toEqual(["stays"]);
        await store.delete([k("d/0")]);
        await store.delete([]);
        expect(await text("stays")).toBe("x");
      });

      test("1,001 keys are deleted in one call", async () => {
        const names = Array.from({ length: 1001 }, (_, i) => k(`d/${i}`));
        await put("d/0", bytes("x"));
        await put("d/1000", bytes("x"));
        let requests = 0;
        await store.delete(names, { onRequest: () => (requests += 1) });
        expect(await keys("")).toEqual([]);
        expect(requests).toBeGreaterThan(0);
      });

      test("bodies are copies, both ways", async () => {
        const body = Buffer.from("original");
        await put("k", body);
        body.fill(0);
        const first = await store.get(k("k"));
        first?.body.fill(0);
        expect(await text("k")).toBe("original");
      });

      test("a body that is a window of a larger buffer is stored as just that window", async () => {
        await put("k", Buffer.from("....window....").subarray(4, 10));
        expect(await text("k")).toBe("window");
      });
    });

    describe("ranges", () => {
      const range = async (
        key: string,
        range: { start: number; end?: number } | { suffix: number },
      ): Promise<unknown> => {
        const object = await store.get(k(key), { range });
        return object && [new TextDecoder().decode(object.body), object.sizeBytes];
      };

      test.each([
        [{ start: 2, end: 5 }, "234"],
        [{ start: 0, end: 1 }, "0"],
        [{ start: 0 }, "0123456789"],
        [{ start: 7 }, "789"],
        [{ start: 7, end: 100 }, "789"],
        [{ start: 9, end: 10 }, "9"],
        [{ start: 10 }, ""],
        [{ start: 10, end: 20 }, ""],
        [{ start: 5000, end: 6000 }, ""],
        [{ start: 4, end: 4 }, ""],
        [{ suffix: 3 }, "789"],
        [{ suffix: 10 }, "0123456789"],
        [{ suffix: 500 }, "0123456789"],
        [{ suffix: 0 }, ""],
      ])("%j of ten bytes", async (wanted, expected) => {
        await put("ten", bytes("0123456789"));
        expect(await range("ten", wanted)).toEqual([expected, 10]);
      });

      test("of an empty object", async () => {
        await put("empty", bytes(""));
        for (const wanted of [{ start: 0, end: 64 }, { start: 0 }, { start: 5 }, { suffix: 8 }]) {
          expect(await range("empty", wanted)).toEqual(["", 0]);
        }
      });

      test("of a missing object, also where the range is empty", async () => {
        for (const wanted of [{ start: 0, end: 64 }, { start: 4, end: 4 }, { suffix: 8 }]) {
          expect(await range("missing", wanted)).toBeUndefined();
        }
      });

      test("an inverted or negative range is refused", async () => {
        await put("ten", bytes("0123456789"));
        for (const wanted of [{ start: 7, end: 4 }, { start: -1 }, { suffix: -1 }, { start: 0.5 }]) {
          await expect(range("ten", wanted)).rejects.toMatchObject({ code: "TIERLOG_INVALID_ARGUMENT" });
        }
      });
    });

    describe("conditions", () => {
      test("if-absent creates once; the loser changes nothing", async () => {
        expect(await create("k", bytes("first"))).toMatchObject({ kind: "written" });
        expect(await create("k", bytes("second"))).toEqual({ kind: "condition-failed" });
        expect(await create("k", bytes("first"))).toEqual({ kind: "condition-failed" });
        expect(await create("k", bytes("third"), target.other)).toEqual({ kind: "condition-failed" });
        expect(await text("k")).toBe("first");
      });

      test("if-absent works again after a delete", async () => {
        await create("k", bytes("first"));
        await store.delete([k("k")]);
        expect(await create("k", bytes("second"))).toMatchObject({ kind: "written" });
        expect(await text("k")).toBe("second");
      });

      test("20 racing creators, 20 rounds: one winner each, and the object is the winner's", async () => {
        for (let round = 0; round < 20; round++) {
          const outcomes = await Promise.all(
            Array.from({ length: 20 }, (_, i) =>
              create(`race/${round}`, bytes(`writer ${i}`), i % 2 === 0 ? store : target.other),
            ),
          );
          const winners = outcomes.flatMap((outcome, i) => (outcome.kind === "written" ? [i] : []));
          expect(winners).toHaveLength(1);
          expect(await text(`race/${round}`)).toBe(`writer ${winners[0]}`);
        }
      });

      test("if-match replaces with the current ETag only", async () => {
        const first = await etagOf(put("k", bytes("1")));
        const second = await etagOf(put("k", bytes("2")));
        const stale = await store.put(k("k"), bytes("stale"), { condition: { kind: "if-match", etag: first } });
        expect(stale).toEqual({ kind: "condition-failed" });
        expect(await text("k")).toBe("2");
        const third = await store.put(k("k"), bytes("3"), { condition: { kind: "if-match", etag: second } });
        expect(third).toMatchObject({ kind: "written" });
        expect(await text("k")).toBe("3");
      });

      test("if-match on a missing object fails and creates nothing", async () => {
        const etag = await etagOf(put("k", bytes("1")));
        const outcome = await store.put(k("other"), bytes("x"), { condition: { kind: "if-match", etag } });
        expect(outcome).toEqual({ kind: "condition-failed" });
        expect(await keys("")).toEqual(["k"]);
      });

      test("if-match without an ETag is refused", async () => {
        await put("k", bytes("1"));
        const blind = store.put(k("k"), bytes("x"), { condition: { kind: "if-match", etag: "" as ETag } });
        await expect(blind).rejects.toMatchObject({ code: "TIERLOG_INVALID_ARGUMENT" });
      });
    });

    describe("list", () => {
      test("1,500 keys come in order, each once, and startAfter goes on where it says", async () => {
        const names = Array.from({ length: 1500 }, (_, i) => `index/0001/${String(i).padStart(20, "0")}.idx`);
        await inGroups(names.toReversed(), 32, (name) => put(name, bytes("x")));
        await put("index/0002/0.idx", bytes("x"));
        await put("catalog/1.json", bytes("x"));
        let pages = 0;
        expect(await keys("index/0001/", { onRequest: () => (pages += 1) })).toEqual(names);
        expect(pages).toBeGreaterThan(0);
        expect(await keys("index/0001/", { startAfter: k(names[1399] ?? "") })).toEqual(names.slice(1400));
        expect(await keys("index/0001/0000000000000000120")).toEqual(names.slice(1200, 1210));
      });

      test("startAfter need not exist, and may lie before or behind the prefix", async () => {
        for (const name of ["a", "b/1", "b/3", "c"]) await put(name, bytes("x"));
        expect(await keys("b/", { startAfter: k("b/2") })).toEqual(["b/3"]);
        expect(await keys("b/", { startAfter: k("a") })).toEqual(["b/1", "b/3"]);
        expect(await keys("b/", { startAfter: k("b/3") })).toEqual([]);
        expect(await keys("b/", { startAfter: k("c") })).toEqual([]);
        expect(await keys("", { startAfter: k("b") })).toEqual(["b/1", "b/3", "c"]);
      });

      test("a prefix need not end at a slash", async () => {
        for (const name of ["ab", "abc", "abc/d", "abd", "b"]) await put(name, bytes("x"));
        expect(await keys("abc")).toEqual(["abc", "abc/d"]);
        expect(await keys("ab")).toEqual(["ab", "abc", "abc/d", "abd"]);
        expect(await keys("nothing/here")).toEqual([]);
      });

      test("a listing may be left early", async () => {
        for (let i = 0; i < 5; i++) await put(`k${i}`, bytes("x"));
        for await (const info of store.list("")) {
          expect(info.key).toBe("k0");
          break;
        }
        expect(await keys("")).toHaveLength(5);
      });

      test("what was written is listed at once, what was deleted is not", async () => {
        for (let i = 0; i < 10; i++) {
          await create(`k/${i}`, bytes(`${i}`));
          expect(await text(`k/${i}`)).toBe(`${i}`);
          expect(await keys("k/")).toHaveLength(1);
          await store.delete([k(`k/${i}`)]);
          expect(await text(`k/${i}`)).toBeUndefined();
          expect(await keys("k/")).toEqual([]);
        }
      });
    });

    describe("keys", () => {
      test("odd keys are stored, found and listed in the order of their UTF-8 bytes", async () => {
        const long = "long/".padEnd(target.keyBytesMax, "x");
        const odd = [...ODD_KEYS, long, `${"ä".repeat(300)}/tail`].sort(compareKeys);
        for (const [i, key] of odd.entries()) {
          expect([key, await create(key, bytes(`${i}`))]).toMatchObject([key, { kind: "written" }]);
        }
        for (const [i, key] of odd.entries()) expect([key, await text(key)]).toEqual([key, `${i}`]);
        expect(await keys("")).toEqual(odd);
        for (const prefix of ["a", "a/", "a//", "/", "..", "ä", "sp", " ", "A", "%"]) {
          expect([prefix, await keys(prefix)]).toEqual([prefix, odd.filter((key) => key.startsWith(prefix))]);
        }
        for (const startAfter of odd) {
          const rest = odd.filter((key) => compareKeys(key, startAfter) > 0);
          expect([startAfter, await keys("", { startAfter: k(startAfter) })]).toEqual([startAfter, rest]);
        }
        await store.delete(odd.map(k));
        expect(await keys("")).toEqual([]);
      });

      test.each([
        ["empty", ""],
        ["1,025 bytes", "x".repeat(1025)],
        ["1,026 bytes in 513 characters", "ä".repeat(513)],
        ["half a surrogate pair", "a\ud800b"],
        ["NUL", "a\u0000b"],
        ["a line break", "a\nb"],
      ])("%s is refused before anything is sent", async (_, key) => {
        const refusal = { code: "TIERLOG_INVALID_ARGUMENT", effect: "none" };
        await expect(create(key, bytes("x"))).rejects.toMatchObject(refusal);
        await expect(store.get(k(key))).rejects.toMatchObject(refusal);
        await expect(store.head(k(key))).rejects.toMatchObject(refusal);
        await expect(store.delete([k("fine"), k(key)])).rejects.toMatchObject(refusal);
        expect(await keys("")).toEqual([]);
      });
    });

    describe("signals and close", () => {
      test("a fired signal stops every call, and a put that was not sent says so", async () => {
        await put("k", bytes("before"));
        const signal = AbortSignal.abort(new Error("enough"));
        const aborted = { code: "TIERLOG_ABORTED", name: "AbortError", effect: "none" };
        await expect(store.get(k("k"), { signal })).rejects.toMatchObject(aborted);
        await expect(store.head(k("k"), { signal })).rejects.toMatchObject(aborted);
        const write = store.put(k("k"), bytes("after"), { signal, condition: { kind: "none" } });
        await expect(write).rejects.toMatchObject(aborted);
        await expect(store.delete([k("k")], { signal })).rejects.toMatchObject(aborted);
        await expect(keys("", { signal })).rejects.toMatchObject(aborted);
        expect(await text("k")).toBe("before");
      });

      test("close may be repeated, and no call works afterwards", async () => {
        await put("k", bytes("x"));
        await store.close();
        await store.close();
        await expect(store.get(k("k"))).rejects.toMatchObject({ code: "TIERLOG_CLOSED" });
        await expect(put("k", bytes("y"))).rejects.toMatchObject({ code: "TIERLOG_CLOSED" });
        expect((await target.other.get(k("k")))?.sizeBytes).toBe(1);
      });
    });
  });
}

const ODD_KEYS = [
  "FORMAT",
  "format",
  "Format",
  "a",
  "a/b",
  "a-b",
  "a.b",
  "a/",
  "a//",
  "a//b",
  "a/./b",
  "a/../b",
  "..",
  "../up",
  ".",
  ".hidden",
  ".tmp/x",
  "/",
  "/leading",
  "//two",
  "dir.d/x",
  "dir.d",
  "x.obj",
  "x.~",
  "x~1",
  "x~1/y",
  " leading space",
  "trailing space ",
  "sp ace/in side",
  "plus+and&amp;<tag>\"quote'",
  "percent%41%2f%",
  "what?#fragment=1&b",
  "back\\slash",
  "co:lon*star|pipe",
  "umlaut/äöü",
  "umlaut/a\u0308",
  "日本語/キー",
  "emoji/😀",
  "private/\uf8ff",
  "Case/Key",
  "case/key",
  `segment/${"s".repeat(300)}`,
  `segment/${"s".repeat(300)}/below`,
  `segment/${"S".repeat(300)}`,
];

export function k(key: string): ObjectKey {
  return key as ObjectKey;
}

export function bytes(content: string): Uint8Array {
  return new TextEncoder().encode(content);
}

/** Bytes that differ from position to position, so that a shifted or repeated range shows. */
export function pattern(size: number): Uint8Array {
  return Uint8Array.from({ length: size }, (_, i) => (i * 31 + (i >> 8)) & 0xff);
}

async function etagOf(outcome: ReturnType<ObjectStore["put"]>): Promise<ETag> {
  const settled = await outcome;
  if (settled.kind !== "written") throw new Error("the put lost");
  return settled.etag;
}

async function inGroups<T>(items: readonly T[], size: number, work: (item: T) => Promise<unknown>): Promise<void> {
  for (let i = 0; i < items.length; i += size) await Promise.all(items.slice(i, i + size).map(work));
}
