import { describe, expect, test } from "vitest";

import { AbortedError } from "../../src/errors.ts";
import type { Severity, StoreCheck } from "../../src/object-store/doctor/check.ts";
import { examineStore, type Examination, type StoreDiagnosis } from "../../src/object-store/doctor/examine-store.ts";
import { judge } from "../../src/object-store/doctor/verdict.ts";
import { MemoryBucket, createMemoryStore } from "../../src/object-store/memory-store.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";
import * as bad from "../support/bad-stores.ts";
import { collect } from "../support/engine.ts";
import { VirtualClock } from "../support/virtual-clock.ts";

function examine(
  wrap: bad.BadStore = (inner) => inner,
  options: Partial<Examination> = {},
  bucket = new MemoryBucket(),
): Promise<StoreDiagnosis> {
  // One wrapper for both handles: they are two clients of one store.
  const store = wrap(createMemoryStore(bucket));
  return examineStore({
    ...systemRuntime,
    store,
    other: store,
    openWire: undefined,
    server: undefined,
    requestTimeoutMs: 5_000,
    deadlineMs: 60_000,
    signal: undefined,
    onProgress: undefined,
    ...options,
  });
}

function failed({ checks }: StoreDiagnosis): string[] {
  return checks.filter(({ ok }) => ok === false).map(({ name }) => name);
}

describe("the verdict", () => {
  const check = (severity: Severity, ok: boolean | undefined): StoreCheck => ({
    name: `${severity} ${String(ok)}`,
    severity,
    ok,
    detail: "",
    hint: undefined,
  });

  test.each([
    ["fenced", [check("required", true), check("fencing", true), check("advice", false), check("info", false)], []],
    ["fenced", [check("required", true), check("fencing", true), check("advice", undefined)], []],
    ["single-writer only", [check("required", true), check("fencing", false)], ["fencing false"]],
    ["single-writer only", [check("required", true), check("fencing", undefined)], ["fencing undefined"]],
    ["unusable", [check("required", false), check("fencing", false)], ["required false"]],
    ["unusable", [check("required", undefined), check("fencing", true)], ["required undefined"]],
    // What was not run because another failed does not hide the one that did.
    ["unusable", [check("required", undefined), check("required", false)], ["required false"]],
  ] as const)("%s", (verdict, checks, because) => {
    expect(judge(checks)).toEqual({ verdict, because });
  });
});

describe("the checks, on a store that", () => {
  test("is good: fenced, nothing failed, a latency, nothing left", async () => {
    const bucket = new MemoryBucket();
    const diagnosis = await examine(undefined, {}, bucket);
    expect(failed(diagnosis)).toEqual([]);
    expect(diagnosis.verdict).toBe("fenced");
    expect(diagnosis.checks.every(({ ok, hint }) => ok === true && hint === undefined)).toBe(true);
    expect(diagnosis.latencyMs?.p50).toBeLessThanOrEqual(diagnosis.latencyMs?.p99 ?? 0);
    expect(bucket.keys()).toEqual([]);
  });

  test.each([
    [
      "ignores conditions",
      bad.ignoresConditions,
      "single-writer only",
      ["create-if-absent, racing", "create-if-absent, key exists"],
    ],
    ["looks first, writes later", bad.racesConditions, "single-writer only", ["create-if-absent, racing"]],
    ["races in one round of ten", bad.racesSometimes(10), "single-writer only", ["create-if-absent, racing"]],
    [
      "answers 501",
      bad.refusesConditions,
      "single-writer only",
      ["create-if-absent, racing", "create-if-absent, key exists"],
    ],
    ["reads old state", bad.staleReads, "unusable", ["read after write"]],
    ["remembers what was missing", bad.remembersMissing, "unusable", ["read after write"]],
    ["lists in no order", bad.unorderedListing, "unusable", ["list beyond 1,000 keys"]],
    ["lists one page", bad.onePage, "unusable", ["list beyond 1,000 keys"]],
    ["ignores ranges", bad.ignoresRanges, "unusable", ["ranged reads"]],
    ["shows uploads early", bad.showsParts, "unusable", ["multipart upload"]],
    ["denies GET", bad.denies("get"), "unusable", ["put, get, head, delete"]],
    ["denies PUT", bad.denies("put"), "unusable", ["put, get, head, delete"]],
    ["denies LIST", bad.denies("list"), "unusable", ["list beyond 1,000 keys"]],
    ["denies uploads", bad.denies("createMultipart"), "unusable", ["multipart upload"]],
  ] as const)("%s", async (_, wrap, verdict, names) => {
    const diagnosis = await examine(wrap);
    expect(diagnosis.verdict).toBe(verdict);
    expect(failed(diagnosis)).toEqual(expect.arrayContaining([...names]));
    expect(diagnosis.because).toEqual(expect.arrayContaining([...names]));
    for (const { ok, hint } of diagnosis.checks) expect(ok === false).toBe(hint !== undefined);
  });

  test("answers losers 500: fenced, and told", async () => {
    const diagnosis = await examine(bad.failsLosers);
    const race = diagnosis.checks.find(({ name }) => name === "create-if-absent, racing");
    expect(race).toMatchObject({ ok: true, detail: expect.stringContaining("300 × HTTP 500") as string });
  });

  test("keeps what is deleted: says what it left, and where", async () => {
    const bucket = new MemoryBucket();
    const diagnosis = await examine(bad.denies("delete"), {}, bucket);
    const last = diagnosis.checks.at(-1);
    expect(last).toMatchObject({ name: "clean-up", ok: false, severity: "advice" });
    expect(last?.detail).toMatch(new RegExp(`below probe/doctor-[0-9a-f]{16}/: ${bucket.keys().length} objects`));
  });

  test("is another's: touches nothing beside its own prefix", async () => {
    const bucket = new MemoryBucket();
    const store = createMemoryStore(bucket);
    const theirs = ["FORMAT", "probe/20261121T000000000Z-0000000000000000.json", "probe/other"] as never[];
    for (const key of theirs) await store.put(key, Buffer.from("theirs"), { condition: { kind: "none" } });
    await examine(undefined, {}, bucket);
    expect((await collect(store.list(""))).map(({ key }) => key)).toEqual(theirs);
  });
});

/** Does something at the first put of a key that ends so, or at the first part of an upload. */
function at(place: string, act: () => void): bad.BadStore {
  return (inner) => ({
    ...inner,
    put(key, body, options) {
      if (key.endsWith(place)) act();
      return inner.put(key, body, options);
    },
    async createMultipart(key, options) {
      const upload = await inner.createMultipart(key, options);
      return {
        ...upload,
        putPart(partNumber, body, partOptions) {
          if (place === "part 2" && partNumber === 2) act();
          return upload.putPart(partNumber, body, partOptions);
        },
      };
    },
  });
}

describe("interrupted", () => {
  test.each(["plain-1", "race-5", "fresh-3", "paged/000500", "part 2", "latency-7"])(
    "at %s: rejects, and leaves nothing",
    async (place) => {
      const bucket = new MemoryBucket();
      const controller = new AbortController();
      const run = examine(
        at(place, () => controller.abort(new Error("stop"))),
        { signal: controller.signal },
        bucket,
      );
      await expect(run).rejects.toBeInstanceOf(AbortedError);
      expect(bucket.keys()).toEqual([]);
      expect(bucket.uploads.size).toBe(0);
    },
  );

  test("before it began: rejects", async () => {
    const signal = AbortSignal.abort(new Error("stop"));
    await expect(examine(undefined, { signal })).rejects.toBeInstanceOf(AbortedError);
  });

  test("what it could not remove is told", async () => {
    const controller = new AbortController();
    const warnings: string[] = [];
    const run = examine(
      (inner) => bad.denies("delete")(at("race-5", () => controller.abort(new Error("stop")))(inner)),
      { signal: controller.signal, logger: { info: () => undefined, warn: (message) => warnings.push(message) } },
    );
    await expect(run).rejects.toBeInstanceOf(AbortedError);
    expect(warnings).toEqual([expect.stringMatching(/^left behind below probe\/doctor-/)]);
  });

  test("when its time is over, the rest is not run, nothing is called good, and nothing is left", async () => {
    const bucket = new MemoryBucket();
    const clock = new VirtualClock();
    const diagnosis = await examine(
      at("race-5", () => {
        while (clock.pending > 0) clock.runNext();
      }),
      { clock },
      bucket,
    );
    expect(diagnosis.verdict).toBe("unusable");
    expect(diagnosis.checks.find(({ name }) => name === "create-if-absent, racing")).toMatchObject({ ok: undefined });
    expect(diagnosis.checks.find(({ name }) => name === "multipart upload")).toMatchObject({
      ok: undefined,
      detail: "not run: the time of this run was over",
    });
    expect(bucket.keys()).toEqual([]);
  });
});
