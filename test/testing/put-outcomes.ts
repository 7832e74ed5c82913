import { inspect } from "node:util";

import { afterEach, beforeEach, describe, expect, test } from "vitest";

import type { ObjectKey } from "../../src/domain.ts";
import type { PutCondition } from "../../src/object-store/object-store.ts";
import { FaultScript } from "../../src/testing/fault-script.ts";
import { filled } from "../support/filled.ts";
import { FaultyStores, GIVES_UP_MS, SETTLED, named, type FaultCase, type OpenFaultyServer } from "./faulty-server.ts";

const KEY = "index/object" as ObjectKey;
const OURS = Buffer.from(filled(100_000, 1));
const THEIRS = Buffer.from(filled(100_000, 2));
const IF_ABSENT: PutCondition = { kind: "if-absent" };
const TAG = /^[0-9a-f]{32}$/;

/** Beyond what meets any call. */
const PUT_FAULTS: readonly FaultCase[] = [
  { fault: { kind: "reset-mid-body" }, sent: 2 },
  { fault: { kind: "reset-mid-body", afterBytes: 1 }, sent: 2 },
  { fault: { kind: "conflict" }, sent: 2 },
  { fault: { kind: "precondition-failed-though-own" }, sent: 1 },
  { fault: { kind: "ok-with-error" }, sent: 2 },
  { fault: { kind: "ok-with-error", committed: true }, sent: 1 },
  { fault: { kind: "weak-etag" }, sent: 1 },
  // No S3 server answers so, whoever it was is not believed: looked for, and found.
  { fault: { kind: "missing-etag" }, sent: 1 },
  // Longer than the client waits: it lands while the client looks, or while it sends again.
  { fault: { kind: "delay", delayMs: GIVES_UP_MS } },
  { fault: { kind: "late-landing", delayMs: 1 } },
  { fault: { kind: "late-landing", delayMs: 30, answer: "silence" } },
  { fault: { kind: "late-landing", delayMs: Number.POSITIVE_INFINITY }, sent: 2 },
];

export function describePutOutcomes(open: OpenFaultyServer): void {
  let faulty: FaultyStores;

  beforeEach(async () => {
    faulty = await FaultyStores.open(open, new FaultScript());
  });

  afterEach(() => faulty.close());

  describe("put if-absent is written, and stays as it is", () => {
    test.each(named([...SETTLED, ...PUT_FAULTS]))("$name", async ({ fault, sent }) => {
      const count = faulty.counter("PutObject");
      faulty.strikeNext(fault, "PutObject");
      const outcome = await faulty.store().put(KEY, OURS, { condition: IF_ABSENT });
      expect(outcome).toEqual({ kind: "written", etag: expect.stringMatching(TAG) });
      expect(faulty.script.firedCount).toBe(1);
      expect(count()).toBe(sent ?? count());
      await faulty.server.landLate();
      expect(Buffer.compare((await faulty.stored(KEY)) ?? Buffer.alloc(0), OURS)).toBe(0);
      // A 200 to this would be a second object.
      await expect(faulty.store().put(KEY, THEIRS, { condition: IF_ABSENT })).resolves.toEqual({
        kind: "condition-failed",
      });
    });
  });

  test("an empty ETag: written, with a tag that names nothing", async () => {
    faulty.strikeNext({ kind: "empty-etag" }, "PutObject");
    const outcome = await faulty.store().put(KEY, OURS, { condition: IF_ABSENT });
    expect(outcome).toEqual({ kind: "written", etag: "" });
    expect(Buffer.compare((await faulty.stored(KEY)) ?? Buffer.alloc(0), OURS)).toBe(0);
  });

  describe("put if-absent against another writer's object is refused, whatever happens", () => {
    test.each(named(SETTLED))("$name", async ({ fault }) => {
      await faulty.prepare(KEY, THEIRS);
      faulty.strikeNext(fault, "PutObject");
      const outcome = await faulty.store().put(KEY, OURS, { condition: IF_ABSENT });
      expect(outcome).toEqual({ kind: "condition-failed" });
      expect(faulty.script.firedCount).toBe(1);
      expect(Buffer.compare((await faulty.stored(KEY)) ?? Buffer.alloc(0), THEIRS)).toBe(0);
    });
  });

  describe("put if-match that was done is written", () => {
    const cases: readonly FaultCase[] = [
      ...SETTLED.filter(({ sent }) => sent === 1),
      { fault: { kind: "precondition-failed-though-own" }, sent: 1 },
      { fault: { kind: "ok-with-error", committed: true }, sent: 1 },
    ];
    test.each(named(cases))("$name", async ({ fault, sent }) => {
      await faulty.prepare(KEY, THEIRS);
      const etag = await faulty.etagOf(KEY);
      const count = faulty.counter("PutObject");
      faulty.strikeNext(fault, "PutObject");
      const condition: PutCondition = { kind: "if-match", etag };
      const outcome = await faulty.store().put(KEY, OURS, { condition });
      expect(outcome).toEqual({ kind: "written", etag: expect.stringMatching(TAG) });
      expect(count()).toBe(sent);
      expect(Buffer.compare((await faulty.stored(KEY)) ?? Buffer.alloc(0), OURS)).toBe(0);
    });
  });

  describe("put if-match that may have been done ends as unknown, and is not sent again", () => {
    const cases: readonly FaultCase[] = [
      { fault: { kind: "lost-request" } },
      { fault: { kind: "reset-mid-body" } },
      { fault: { kind: "slow-down" } },
      { fault: { kind: "conflict" } },
      { fault: { kind: "silence" } },
      { fault: { kind: "late-landing", delayMs: Number.POSITIVE_INFINITY } },
    ];
    test.each(named(cases))("$name", async ({ fault }) => {
      await faulty.prepare(KEY, THEIRS);
      const etag = await faulty.etagOf(KEY);
      const count = faulty.counter("PutObject");
      faulty.strikeNext(fault, "PutObject");
      const condition: PutCondition = { kind: "if-match", etag };
      const put = faulty.store().put(KEY, OURS, { condition });
      await expect(put).rejects.toMatchObject({ code: "TIERLOG_OBJECT_STORE", effect: "unknown" });
      expect(count()).toBe(1);
      // It says "unknown" because this can happen.
      await faulty.server.landLate();
      const lands = fault.kind === "late-landing";
      expect(Buffer.compare((await faulty.stored(KEY)) ?? Buffer.alloc(0), lands ? OURS : THEIRS)).toBe(0);
    });
  });

  describe("what trying again cannot mend is an error at once, without effect and without the token", () => {
    const cases = [
      { fault: { kind: "access-denied" }, advice: "the credentials do not allow this" },
      { fault: { kind: "expired-token" }, advice: "get new credentials" },
      { fault: { kind: "expired-token", status: 403 }, advice: "get new credentials" },
    ] as const;
    test.each(named(cases))("$name", async ({ fault, advice }) => {
      const sessionToken = "canary-session-token";
      const credentials = { accessKeyId: "somebody", secretAccessKey: "secret", sessionToken };
      const count = faulty.counter("PutObject");
      faulty.strikeNext(fault, "PutObject");
      const put = faulty.store(60_000, { credentials }).put(KEY, OURS, { condition: IF_ABSENT });
      const error: unknown = await put.catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code: "TIERLOG_OBJECT_STORE", retryable: false, effect: "none" });
      expect(error).toMatchObject({ message: expect.stringContaining(advice) });
      expect(inspect(error, { depth: null, showHidden: true }) + JSON.stringify(error)).not.toContain(sessionToken);
      expect(count()).toBe(1);
      expect(await faulty.stored(KEY)).toBeUndefined();
    });
  });

  test("a storm of 503 is waited out", async () => {
    faulty.script.add({ fault: { kind: "slow-down", retryAfterSeconds: 1 }, match: { times: 1 }, lastsMs: 300 });
    await expect(faulty.store().put(KEY, OURS, { condition: IF_ABSENT })).resolves.toMatchObject({ kind: "written" });
    expect(faulty.script.firedCount).toBeGreaterThan(1);
  });

  test("silence: the client closes its socket when its time is over", async () => {
    faulty.script.add({ fault: { kind: "silence" } });
    const put = faulty.store(500).put(KEY, OURS, { condition: IF_ABSENT });
    await expect(put).rejects.toMatchObject({ code: "TIERLOG_OBJECT_STORE", effect: "unknown" });
    while (faulty.server.openSockets > 0) await new Promise((resolve) => setTimeout(resolve, 2));
    expect(faulty.script.firedCount).toBeGreaterThan(1);
  });
}
