import { array, assert, boolean, constantFrom, oneof, property, string } from "fast-check";
import { describe, expect, test } from "vitest";

import { pathOfKey, pathOfPrefix, readPiece, segmentOfName } from "../../src/object-store/file-name.ts";

const segment = oneof(
  string({ unit: "binary", maxLength: 12 }),
  string({ unit: constantFrom(...Array.from("aAbB.~%+/-_0f é😀")), maxLength: 12 }),
  string({ unit: constantFrom(...Array.from("aA.é")), minLength: 60, maxLength: 400 }),
);
const key = array(segment, { minLength: 1, maxLength: 4 }).map((segments) => segments.join("/"));

/** The key back from its path, as a listing puts it together. */
function keyOfPath(path: readonly string[]): string | undefined {
  const segments: (string | undefined)[] = [];
  let pieces = "";
  for (const [i, name] of path.entries()) {
    const piece = readPiece(name, pieces === "");
    pieces += piece?.text ?? "";
    if (piece?.continued === true) continue;
    segments.push(segmentOfName(pieces, i === path.length - 1 ? "file" : "directory"));
    pieces = "";
  }
  return segments.includes(undefined) ? undefined : segments.join("/");
}

describe("a key as a path", () => {
  test("comes back exactly", () => {
    assert(
      property(key, (key) => {
        expect(keyOfPath(pathOfKey(key))).toBe(key);
      }),
      { numRuns: 2_000 },
    );
  });

  test("has safe names only, none longer than 200 bytes, a dot in the file's and in no directory's", () => {
    assert(
      property(key, (key) => {
        const path = pathOfKey(key);
        for (const name of path) expect(name).toMatch(/^[A-Za-z0-9_%+-][A-Za-z0-9_.%~+-]{0,199}$/);
        // A file's dot may lie in any of its pieces; a whole directory name has none.
        for (const name of path.slice(0, -1)) expect(name).toMatch(/^[^.]+$|\+$/);
      }),
      { numRuns: 2_000 },
    );
  });

  test("differs from every other key's, also where case does not count", () => {
    assert(
      property(key, key, boolean(), (a, b, flip) => {
        const other = flip ? a.replaceAll(/[a-z]/g, (letter) => letter.toUpperCase()) : b;
        if (a === other) return;
        expect(pathOfKey(a).join("/").toLowerCase()).not.toBe(pathOfKey(other).join("/").toLowerCase());
      }),
      { numRuns: 2_000 },
    );
  });

  test("lies in the directory of its prefix", () => {
    assert(
      property(key, (key) => {
        const parent = key.slice(0, key.lastIndexOf("/") + 1);
        const directory = pathOfPrefix(parent);
        expect(pathOfKey(key).slice(0, directory.length)).toEqual(directory);
      }),
    );
  });

  test("no piece of a long name is a step upwards", () => {
    for (let length = 180; length < 420; length++) {
      const path = pathOfKey(`${"a".repeat(length)}..`);
      expect(path.filter((name) => name === "." || name === "..")).toEqual([]);
    }
  });

  test.each([
    ["FORMAT", "FORMAT.~3f"],
    ["index/0000/00000000000000000000.idx", "index/0000/00000000000000000000.idx"],
    ["a", "a.~"],
    ["a/b", "a/b.~"],
    ["a//b", "a/%/b.~"],
    ["/", "%/%.~"],
    ["../.x", "%2e%2e/%2ex.~"],
    ["v1.2/x.y", "v1%2e2/x.y"],
    ["Data/x.log", "Data~8/x.log"],
    ["ä", "%c3%a4.~"],
  ])("%s is %s", (key, path) => {
    expect(pathOfKey(key).join("/")).toBe(path);
  });

  test.each(["no-dot", "bad%zz.txt", "half%4.x", ".hidden", "Upper.txt", "x.~0", "%41.~", "%ff.~"])(
    "%s is no key's file",
    (name) => {
      expect(segmentOfName(name, "file")).toBeUndefined();
    },
  );
});
