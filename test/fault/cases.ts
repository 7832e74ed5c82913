import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { inspect } from "node:util";

import { afterEach, describe, expect, test } from "vitest";

import type { Config } from "../../src/config/config.ts";
import { defaultConfig } from "../../src/config/resolve-config.ts";
import type { ObjectKey } from "../../src/domain.ts";
import type { PartitionApi, TopicApi } from "../../src/engine/api.ts";
import { Engine, type OpenOptions } from "../../src/engine/engine.ts";
import { isTierlogError, type TierlogError } from "../../src/errors.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";
import { createS3Store } from "../../src/object-store/s3-store.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";
import type { FaultMatch } from "../../src/testing/fault-rule.ts";
import { FaultScript } from "../../src/testing/fault-script.ts";
import type { Fault } from "../../src/testing/fault.ts";
import { readAll, values } from "../support/engine.ts";
import type { FaultyServer, OpenFaultyServer } from "../testing/faulty-server.ts";
import { Ledger } from "./ledger.ts";

const MIB = 1024 * 1024;
const TOPIC = "events";
/** Where a link is created: the fence of the first append is the first of them. */
const LINK: FaultMatch = { operation: "PutObject", key: /\/index\/\d{4}\// };
const DATA = /\/data\//;
const COMPLETE: FaultMatch = { operation: "CompleteMultipartUpload", key: DATA };
const PART: FaultMatch = { operation: "UploadPart", key: DATA };

interface Patience {
  readonly requestTimeoutMs?: number;
  readonly deadlineMs?: number;
}

/**
 * The named fault cases as an embedder meets them: an engine, a server that misbehaves, and what every append and read is told.
 * Invariants, by DESIGN's numbers: I1 nothing acked is lost, I2 dense, once, in order, I3 nothing served that fails its checks,
 * I4 nothing of an epoch behind the fence of the next, I6 bounded sockets and retries, I8 no secret.
 */
export function describeFaultCases(name: string, openServer: OpenFaultyServer): void {
  describe(`fault cases: ${name}`, () => {
    let faults: FaultScript;
    let place: FaultyServer;
    let engines: Engine[] = [];
    let stores: ObjectStore[] = [];

    afterEach(async () => {
      faults.clear();
      await Promise.allSettled(engines.map((engine) => engine.close()));
      await Promise.allSettled(stores.map((store) => store.close()));
      engines = [];
      stores = [];
      await place.server.close();
      expect(place.server.failures).toEqual([]);
    });

    /** A server that so far does what it should. */
    async function start(): Promise<void> {
      faults = new FaultScript();
      place = await openServer(faults);
    }

    function config({ requestTimeoutMs = 20_000, deadlineMs = 60_000 }: Patience = {}): Config {
      const { endpoint, bucket, region, prefix, credentials } = place.settings;
      return defaultConfig({
        storage: {
          kind: "object",
          object: {
            endpoint,
            bucket,
            region,
            prefix,
            // The SDK writes into what it gets.
            credentials: { accessKeyId: credentials.accessKeyId, secretAccessKey: credentials.secretAccessKey },
            requestTimeoutMs,
            deadlineMs,
            multipartPartSizeBytes: 5 * MIB,
          },
        },
        flush: { lingerMs: 2 },
      });
    }

    async function open(patience: Patience = {}, options: OpenOptions = {}): Promise<Engine> {
      const engine = await Engine.open(config(patience), options);
      engines.push(engine);
      return engine;
    }

    /** An engine that owns the shard, and its topic. */
    async function owner(patience: Patience = {}): Promise<{ engine: Engine; topic: TopicApi; first: PartitionApi }> {
      const engine = await open(patience);
      await engine.createTopic(TOPIC, { partitions: 3 });
      const topic = await engine.topic(TOPIC);
      const first = topic.partition(0);
      await first.append(values("warm"));
      return { engine, topic, first };
    }

    /** What a process that comes later reads. */
    async function stored(partition = 0): Promise<string[]> {
      const reader = await open({}, { readOnly: true });
      return readAll((await reader.topic(TOPIC)).partition(partition));
    }

    function rawStore(): ObjectStore {
      const store = createS3Store(place.settings, systemRuntime);
      stores.push(store);
      return store;
    }

    async function keys(prefix: string): Promise<ObjectKey[]> {
      const found: ObjectKey[] = [];
      for await (const { key } of rawStore().list(prefix)) found.push(key);
      return found;
    }

    /** A flush above one part: a data object in three parts, then a link. */
    const big = (text: string): { value: Uint8Array }[] =>
      Array.from({ length: 14 }, (_, i) => ({ value: Buffer.alloc(900 * 1024, `${text}${i} `) }));

    async function failure(work: Promise<unknown>): Promise<TierlogError> {
      const error = await work.then(
        () => new Error("it was done"),
        (reason: unknown) => reason,
      );
      if (!isTierlogError(error)) throw error;
      return error;
    }

    const once = (fault: Fault, match: FaultMatch): { readonly struck: number } =>
      faults.add({ fault, match: { ...match, times: 1 } });

    describe("a link whose answer is no answer: acked once, stored once (I1, I2)", () => {
      test.each<[string, Fault]>([
        ["F01 put-committed-response-lost", { kind: "lost-answer" }],
        ["F02 put-lost-before-commit", { kind: "lost-request" }],
        ["F02 reset in the middle of the body", { kind: "reset-mid-body" }],
        ["F05 conflict-409-put", { kind: "conflict" }],
        ["F10 503 before", { kind: "slow-down" }],
        ["F10 503 after it was stored", { kind: "slow-down-after-commit" }],
        ["F43 412 although it is ours", { kind: "precondition-failed-though-own" }],
        ["500 before", { kind: "internal-error" }],
        ["500 after it was stored", { kind: "internal-error", committed: true }],
        ["twice delivered", { kind: "duplicate-delivery" }],
        ["F21 clock-skew-20-min", { kind: "clock-skew" }],
      ])("%s", async (_, fault) => {
        await start();
        const { first } = await owner();
        const before = (await keys("index/")).length;
        const rule = once(fault, LINK);
        await expect(first.append(values("a"))).resolves.toMatchObject({ firstOffset: 1, nextOffset: 2 });
        await expect(first.append(values("b"))).resolves.toMatchObject({ firstOffset: 2 });
        expect(rule.struck).toBe(1);
        expect((await keys("index/")).length).toBe(before + 2);
        expect(await stored()).toEqual(["warm", "a", "b"]);
      });

      test("F05 three conflicts in a row", async () => {
        await start();
        const { first } = await owner();
        const rule = faults.add({ fault: { kind: "conflict" }, match: { ...LINK, times: 3 } });
        await expect(first.append(values("a"))).resolves.toMatchObject({ firstOffset: 1 });
        expect(rule.struck).toBe(3);
        expect(await stored()).toEqual(["warm", "a"]);
      });

      test("F43 412 although it is ours, and the read-back that tells is damaged on its way", async () => {
        await start();
        const { first } = await owner();
        const rules = [
          once({ kind: "precondition-failed-though-own" }, LINK),
          once({ kind: "bit-flip", position: 3 }, { operation: "GetObject", key: LINK.key ?? "" }),
        ];
        await expect(first.append(values("a"))).resolves.toMatchObject({ firstOffset: 1 });
        await expect(first.append(values("b"))).resolves.toMatchObject({ firstOffset: 2 });
        expect(rules.map(({ struck }) => struck)).toEqual([1, 1]);
        expect(await stored()).toEqual(["warm", "a", "b"]);
      });

      test("F12 silent-server: the socket is closed at the request's timeout, the link is settled", async () => {
        await start();
        const { first } = await owner({ requestTimeoutMs: 400 });
        const rule = once({ kind: "silence", committed: true }, LINK);
        await expect(first.append(values("a"))).resolves.toMatchObject({ firstOffset: 1 });
        expect(rule.struck).toBe(1);
        expect(await stored()).toEqual(["warm", "a"]);
        await Promise.allSettled(engines.map((engine) => engine.close()));
        await until(() => place.server.openSockets === 0);
      });

      test("F03 late-landing-put: it lands behind the retry that was acked, and changes nothing", async () => {
        await start();
        const { first } = await owner();
        once({ kind: "late-landing", delayMs: Number.POSITIVE_INFINITY }, LINK);
        await expect(first.append(values("a"))).resolves.toMatchObject({ firstOffset: 1 });
        const before = await keys("index/");
        await place.server.landLate();
        await first.append(values("b"));
        expect(await keys("index/")).toEqual([...before, expect.stringMatching(/^index\//)]);
        expect(await stored()).toEqual(["warm", "a", "b"]);
      });
    });

    test("F04 foreign-412: who was overtaken is fenced, and acks nothing any more (I4)", async () => {
      await start();
      const { first } = await owner();
      const second = await open();
      await (await second.topic(TOPIC)).partition(0).append(values("second"));
      const late = await Promise.all([failure(first.append(values("x"))), failure(first.append(values("y")))]);
      expect(late.map(({ kind, effect }) => `${kind} ${effect}`)).toEqual(["fenced none", "fenced none"]);
      expect(await failure(first.append(values("z")))).toMatchObject({ kind: "fenced" });
      expect(await stored()).toEqual(["warm", "second"]);
    });

    describe("a data object whose completion got no clear answer: acked once it is there (I1, I2)", () => {
      test.each<[string, Fault]>([
        ["F06 conflict-409-complete", { kind: "conflict" }],
        ["F07 complete-200-error-body, not made", { kind: "ok-with-error" }],
        ["F07 complete-200-error-body, made", { kind: "ok-with-error", committed: true }],
        ["F07 200 without a body, made", { kind: "empty-ok", committed: true }],
        ["F08 complete-lost-response", { kind: "lost-answer" }],
        ["F08 made, answered NoSuchUpload", { kind: "no-such-upload", committed: true }],
        ["500, not made", { kind: "internal-error" }],
      ])("%s", async (_, fault) => {
        await start();
        const { first } = await owner();
        const rule = once(fault, COMPLETE);
        await expect(first.append(big("a"))).resolves.toMatchObject({ firstOffset: 1, nextOffset: 15 });
        expect(rule.struck).toBe(1);
        expect(place.server.requests.count("AbortMultipartUpload")).toBe(0);
        expect((await keys("data/")).length).toBe(1);
        expect((await stored()).length).toBe(15);
      });
    });

    test("F09 nosuchupload-really-gone: never taken for success; uploaded again from memory, under another name", async () => {
      await start();
      const { first } = await owner();
      const rule = once({ kind: "no-such-upload" }, COMPLETE);
      await expect(first.append(big("a"))).resolves.toMatchObject({ firstOffset: 1 });
      expect(rule.struck).toBe(1);
      expect(place.server.requests.count("CreateMultipartUpload")).toBe(2);
      expect((await keys("data/")).length).toBe(1);
      expect((await stored()).length).toBe(15);
    });

    describe("parts", () => {
      test.each<[string, Fault]>([
        ["F17 no ETag", { kind: "missing-etag" }],
        ["F17 an empty ETag", { kind: "empty-etag" }],
        ["F17 a weak ETag", { kind: "weak-etag" }],
        ["F10 503", { kind: "slow-down" }],
        ["reset in the middle of the body", { kind: "reset-mid-body" }],
        ["stored, answer lost", { kind: "lost-answer" }],
      ])("%s: sent again where needed, and the object is whole (I3)", async (_, fault) => {
        await start();
        const { first } = await owner();
        const rule = faults.add({ fault, match: { ...PART, nth: [1, 3] } });
        await first.append(big("a"));
        expect(rule.struck).toBe(2);
        const texts = await stored();
        expect(texts.slice(1).every((text, i) => text.startsWith(`a${i} `) && text.length === 900 * 1024)).toBe(true);
        expect(texts.length).toBe(15);
      });

      test("F18 part-failure-fast: an error at once, the upload aborted, room for others (I6)", async () => {
        await start();
        const { engine, first } = await owner();
        const rule = faults.add({ fault: { kind: "access-denied" }, match: { ...PART, nth: 3, times: 1 } });
        expect(await failure(first.append(big("a")))).toMatchObject({ kind: "unavailable", effect: "none" });
        expect(rule.struck).toBe(1);
        await until(() => place.server.requests.count("AbortMultipartUpload") === 1);
        await first.append(big("b"));
        expect(engine.metrics().pendingBytes).toBe(0);
        const texts = await stored();
        expect([texts.length, texts[1]?.slice(0, 3)]).toEqual([15, "b0 "]);
        expect((await keys("data/")).length).toBe(1);
      });
    });

    describe("storms and outages: what was acked stays, and all goes on without a restart (I1, I2, I6)", () => {
      test("F10 slowdown-storm: appends wait; beyond max_pending they are refused, not lost", async () => {
        await start();
        const engine = await Engine.open({
          ...config(),
          flush: { ...config().flush, maxBytes: 64 * 1024, maxPendingBytes: 128 * 1024, maxWaitMs: 300 },
          batch: { maxBytes: 32 * 1024 },
        });
        engines.push(engine);
        await engine.createTopic(TOPIC, { partitions: 3 });
        const topic = await engine.topic(TOPIC);
        await topic.partition(0).append(values("warm"));
        const ledger = new Ledger();
        const refused: string[] = [];
        faults.add({ fault: { kind: "slow-down" }, match: { times: 1 }, lastsMs: 2000 });
        await ledger.produce(topic, {
          producers: 16,
          valueBytes: 20_000,
          goOn: () => ledger.acked < 60,
          onError: (error) => {
            refused.push(isTierlogError(error) ? error.code : String(error));
            return "go-on";
          },
        });
        expect(new Set(refused)).toEqual(new Set(["TIERLOG_OVERLOADED"]));
        const counts = await ledger.check(await open({}, { readOnly: true }), TOPIC, ["warm"]);
        expect(counts.unknown).toBe(0);
      });

      test("F11 total-outage: nothing is acked while it lasts; then it goes on", async () => {
        await start();
        const { topic, first } = await owner();
        const ledger = new Ledger();
        let over = false;
        const produced = ledger.produce(topic, { producers: 6, goOn: () => !over });
        await until(() => ledger.acked > 10);
        await place.server.goDown();
        const before = ledger.acked;
        await pause(1500);
        // Those on their way when it went down may have been stored before.
        expect(ledger.acked).toBeLessThanOrEqual(before);
        await place.server.comeUp();
        await until(() => ledger.acked > before + 10);
        over = true;
        await produced;
        const counts = await ledger.check(await open({}, { readOnly: true }), TOPIC, ["warm"]);
        expect(counts).toMatchObject({ unknown: 0, none: 0 });
        expect((await first.inspect()).epoch).toBe(1);
      });

      test("F11 past the deadline: told effect unknown or none; taken over again, and nothing told none is there", async () => {
        await start();
        const { topic, first } = await owner({ deadlineMs: 800, requestTimeoutMs: 400 });
        const ledger = new Ledger();
        let over = false;
        const produced = ledger.produce(topic, { producers: 6, goOn: () => !over });
        await until(() => ledger.acked > 10);
        const outage = faults.add({ fault: { kind: "silence" }, match: LINK });
        await pause(2000);
        outage.remove();
        const before = ledger.acked;
        await until(() => ledger.acked > before + 10);
        over = true;
        await produced;
        const counts = await ledger.check(await open({}, { readOnly: true }), TOPIC, ["warm"]);
        expect(counts.unknown).toBeGreaterThan(0);
        expect((await first.inspect()).epoch).toBeGreaterThan(1);
      });

      test("F19 stale-keepalive: a server that closes idle connections is not noticed", async () => {
        await start();
        const { topic } = await owner();
        const ledger = new Ledger();
        const rule = faults.add({ fault: { kind: "close-idle" }, match: { probability: 0.5 } });
        await ledger.produce(topic, { producers: 4, goOn: () => ledger.acked < 400 });
        expect(rule.struck).toBeGreaterThan(5);
        const counts = await ledger.check(await open({}, { readOnly: true }), TOPIC, ["warm"]);
        expect(counts).toMatchObject({ unknown: 0, none: 0 });
      });
    });

    describe("reads: whole and checked, or an error (I3)", () => {
      test.each<[string, Fault]>([
        ["F14 truncated-get", { kind: "truncated-answer" }],
        ["F14 a short body with the right status", { kind: "short-answer" }],
        ["F16 a bit flipped on the way", { kind: "bit-flip", position: 300 }],
        ["503", { kind: "slow-down" }],
        ["F12 silence", { kind: "silence" }],
        ["F13 slow-loris-response: the timeout is of the whole request", { kind: "slow-loris", bytesPerSecond: 40 }],
      ])("%s, of a link and of a data object: asked again", async (_, fault) => {
        await start();
        const { first } = await owner();
        await first.append(values("a".repeat(2000)));
        await first.append(big("b"));
        const reader = await open({ requestTimeoutMs: 1500 }, { readOnly: true });
        const partition = (await reader.topic(TOPIC)).partition(0);
        await partition.watermarks();
        const rules = [/\/index\//, DATA].map((key) =>
          faults.add({ fault, match: { operation: "GetObject", key, times: 1 } }),
        );
        const texts = await readAll(partition);
        expect(rules.map(({ struck }) => struck)).toEqual([1, 1]);
        expect(texts.map((text) => text.slice(0, 3)).slice(0, 4)).toEqual(["war", "aaa", "b0 ", "b1 "]);
        expect(texts.length).toBe(16);
      });

      test("F14 for ever: an error at the deadline, never short data", async () => {
        await start();
        const { first } = await owner();
        await first.append(values("a".repeat(2000)));
        const reader = await open({ requestTimeoutMs: 500, deadlineMs: 1500 }, { readOnly: true });
        const partition = (await reader.topic(TOPIC)).partition(0);
        await partition.watermarks();
        faults.add({ fault: { kind: "truncated-answer" }, match: { operation: "GetObject" } });
        expect(await failure(readAll(partition))).toMatchObject({ code: "TIERLOG_OBJECT_STORE", kind: "unavailable" });
      });

      test("F16 bitflip-in-object: one that was changed in the store is an error that names it; the rest stays readable", async () => {
        await start();
        const { topic, first } = await owner();
        await topic.partition(1).append(values("other"));
        await first.append(big("a"));
        const [key = "" as ObjectKey] = await keys("data/");
        const raw = rawStore();
        const body = Buffer.from((await raw.get(key))?.body ?? []);
        body[body.length >> 1] = (body[body.length >> 1] ?? 0) ^ 0x10;
        await raw.put(key, body, { condition: { kind: "none" } });
        const reader = await open({}, { readOnly: true });
        const damaged = (await reader.topic(TOPIC)).partition(0);
        expect(await failure(readAll(damaged))).toMatchObject({ code: "TIERLOG_CORRUPTION", kind: "data", key });
        expect(await readAll((await reader.topic(TOPIC)).partition(1))).toEqual(["other"]);
        expect((await damaged.read({ from: 0 })).batches.length).toBeGreaterThan(0);
      });

      test("F15 object-changed-between-ranges: what comes behind the change is an error that names it, never mixed bytes", async () => {
        await start();
        const { topic, first } = await owner();
        await topic.partition(1).append(values("other"));
        await first.append(big("a"));
        const [key = "" as ObjectKey] = await keys("data/");
        await first.append(big("b"));
        const another = (await keys("data/")).find((one) => one !== key) ?? ("" as ObjectKey);
        const reader = await open({}, { readOnly: true });
        const partition = (await reader.topic(TOPIC)).partition(0);
        // The footer and the beginning: what follows is fetched by other ranges.
        expect((await partition.read({ from: 1, maxBytes: MIB })).batches.length).toBeLessThan(5);
        // Batches whose checksums are right, under the name of others.
        const body = (await rawStore().get(another))?.body ?? Buffer.alloc(0);
        await rawStore().put(key, body, { condition: { kind: "none" } });
        const rest = partition.read({ from: 10, maxBytes: 8 * MIB });
        expect(await failure(rest)).toMatchObject({ code: "TIERLOG_CORRUPTION", kind: "data", key });
        expect(await readAll((await reader.topic(TOPIC)).partition(1))).toEqual(["other"]);
      });

      test("F22 access-denied-on-head: 403 is no 404: an error that says what is missing", async () => {
        await start();
        const { first } = await owner();
        faults.add({ fault: { kind: "access-denied" }, match: { operation: ["GetObject", "HeadObject"] } });
        const error = await failure(open());
        expect(error).toMatchObject({ kind: "unavailable", status: 403 });
        expect(error.message).toContain("s3:ListBucket");
        faults.clear();
        await first.append(values("a"));
        expect(await stored()).toEqual(["warm", "a"]);
      });

      test("F30 an object that is gone: MissingObjectError, once asked, not for ever", async () => {
        await start();
        const { first } = await owner();
        await first.append(big("a"));
        const [key = "" as ObjectKey] = await keys("data/");
        await rawStore().delete([key]);
        const reader = await open({}, { readOnly: true });
        const before = place.server.requests.count("GetObject");
        const partition = (await reader.topic(TOPIC)).partition(0);
        expect(await failure(partition.read({ from: 5 }))).toMatchObject({ code: "TIERLOG_MISSING_OBJECT", key });
        expect(place.server.requests.count("GetObject") - before).toBeLessThan(20);
      });
    });

    test("F29 zombie-late-segment-put: a link and a data object of the old epoch that land behind the fence stay invisible (I4)", async () => {
      await start();
      const { first } = await owner({ deadlineMs: 700, requestTimeoutMs: 300 });
      faults.add({ fault: { kind: "late-landing", delayMs: Number.POSITIVE_INFINITY }, match: { ...LINK } });
      expect(await failure(first.append(values("zombie")))).toMatchObject({ effect: "unknown" });
      faults.clear();
      faults.add({ fault: { kind: "late-landing", delayMs: Number.POSITIVE_INFINITY }, match: COMPLETE });
      const second = await open();
      const partition = (await second.topic(TOPIC)).partition(0);
      await partition.append(values("second"));
      await place.server.landLate();
      expect(await failure(first.append(values("more")))).toMatchObject({ kind: "fenced" });
      await partition.append(values("third"));
      expect(await stored()).toEqual(["warm", "second", "third"]);
    });

    test("F20 credentials-expire, and cannot be renewed: not acked, effect none, and the error does not repeat the token", async () => {
      await start();
      const { first } = await owner();
      faults.add({ fault: { kind: "expired-token" } });
      const error = await failure(first.append(values("a")));
      expect(error).toMatchObject({ kind: "unavailable", effect: "none", retryable: false });
      expect(error.message).toContain("ExpiredToken");
      faults.clear();
      await first.append(values("b"));
      expect(await stored()).toEqual(["warm", "b"]);
    });

    test("F20 credentials-expire, and can be renewed: once, in the middle of an upload, and everything is acked (I1, I2)", async () => {
      await start();
      const { accessKeyId, secretAccessKey } = place.settings.credentials;
      const file = join(await mkdtemp(join(tmpdir(), "tierlog-f20-")), "credentials");
      const keys = `aws_access_key_id = ${accessKeyId}\naws_secret_access_key = ${secretAccessKey}\n`;
      await writeFile(file, `[default]\n${keys}`);
      const got: string[] = [];
      const logger = { info: (message: string) => void got.push(message), warn: () => undefined };
      const { storage, ...rest } = config();
      const searching = { ...rest, storage: { ...storage, object: { ...storage.object, credentials: undefined } } };
      const environment = { AWS_SHARED_CREDENTIALS_FILE: file };
      const engine = await Engine.open(searching, { runtime: { environment, logger } });
      engines.push(engine);
      await engine.createTopic(TOPIC, { partitions: 1 });
      const first = (await engine.topic(TOPIC)).partition(0);
      await first.append(values("warm"));
      const renewals = (): number => got.filter((message) => message === "got credentials").length;
      expect(renewals()).toBe(1);
      const rule = faults.add({ fault: { kind: "expired-token" }, match: { ...PART, nth: 2, times: 1 } });
      await expect(first.append(big("a"))).resolves.toMatchObject({ firstOffset: 1, nextOffset: 15 });
      expect([rule.struck, renewals()]).toEqual([1, 2]);
      const link = once({ kind: "expired-token", status: 403 }, LINK);
      await expect(first.append(values("b"))).resolves.toMatchObject({ firstOffset: 15 });
      expect([link.struck, renewals()]).toEqual([1, 3]);
      expect((await stored()).length).toBe(16);
      await rm(dirname(file), { recursive: true });
    });

    test("F51 secret-canary: no error of any kind of fault holds a secret (I8)", async () => {
      await start();
      const secret = place.settings.credentials.secretAccessKey;
      await owner();
      const seen: string[] = [];
      const record = (error: TierlogError): void => {
        seen.push(inspect(error, { depth: 10, showHidden: true }), JSON.stringify(error), String(error.stack));
      };
      const every: Fault[] = [
        { kind: "expired-token" },
        { kind: "expired-token", status: 403 },
        { kind: "access-denied" },
        { kind: "internal-error" },
        { kind: "slow-down" },
        { kind: "clock-skew" },
        { kind: "lost-answer" },
        { kind: "lost-request" },
        { kind: "silence" },
        { kind: "truncated-answer" },
      ];
      const hasty = { deadlineMs: 300, requestTimeoutMs: 150 };
      for (const fault of every) {
        const rule = faults.add({ fault });
        record(await failure(open(hasty, { readOnly: true })));
        rule.remove();
      }
      const writer = (await (await open(hasty)).topic(TOPIC)).partition(1);
      for (const fault of [...every, { kind: "conflict" } as const]) {
        const rule = faults.add({ fault });
        record(await failure(writer.append(values("a"))));
        rule.remove();
      }
      expect(seen.filter((text) => text.includes(secret))).toEqual([]);
      expect(seen.length).toBe(3 * (2 * every.length + 1));
    });

    const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

    async function until(condition: () => boolean): Promise<void> {
      for (let i = 0; i < 1000 && !condition(); i++) await pause(20);
      if (!condition()) throw new Error("waited for 20 s");
    }
  });
}
