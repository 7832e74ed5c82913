import { beforeEach, describe, expect, test } from "vitest";

import type { ObjectKey } from "../../src/domain.ts";
import { ObjectStoreError } from "../../src/errors.ts";
import { searchedCredentials } from "../../src/object-store/credentials/credential-chain.ts";
import { RenewingCredentials } from "../../src/object-store/credentials/renewing.ts";
import type { LoadedCredentials } from "../../src/object-store/credentials/source.ts";
import type { ObjectStore } from "../../src/object-store/object-store.ts";
import { createS3Store } from "../../src/object-store/s3-store.ts";
import { settling } from "../../src/object-store/settling.ts";
import type { Logger } from "../../src/runtime/logger.ts";
import { systemRuntime } from "../../src/runtime/runtime.ts";
import { ContainerEndpoint, HOUR_MS, givenKeys } from "../support/credential-servers.ts";
import { startEndpoint } from "../support/endpoint.ts";
import { VirtualClock } from "../support/virtual-clock.ts";

const MINUTE_MS = 60_000;
const IF_ABSENT = { condition: { kind: "if-absent" } } as const;

let warnings: string[];
const logger: Logger = {
  info: () => undefined,
  warn: (message, fields) => void warnings.push(`${message} ${JSON.stringify(fields)}`),
};

beforeEach(() => {
  warnings = [];
});

describe("when they are renewed", () => {
  let clock: VirtualClock;
  let loads: number;
  /** What the next `load` does. */
  let next: () => Promise<LoadedCredentials>;
  let provider: RenewingCredentials;

  const lasting = (lifeMs: number | undefined) => (): Promise<LoadedCredentials> =>
    Promise.resolve({
      accessKeyId: `K${loads}`,
      secretAccessKey: "s",
      expiresAtMs: lifeMs === undefined ? undefined : clock.now() + lifeMs,
    });
  const failing = (): Promise<LoadedCredentials> =>
    Promise.reject(new ObjectStoreError("down", { operation: "credentials", key: "", retryable: true }));
  const current = async (): Promise<string> => (await provider.get()).accessKeyId;

  async function pass(ms: number): Promise<void> {
    // What was begun in the background ends first.
    await new Promise((resolve) => setImmediate(resolve));
    clock.schedule(ms, () => undefined);
    clock.runNext();
  }

  beforeEach(() => {
    clock = new VirtualClock();
    loads = 0;
    next = lasting(HOUR_MS);
    const load = (): Promise<LoadedCredentials> => {
      loads += 1;
      return next();
    };
    provider = new RenewingCredentials({ load, source: "the test", renewable: true }, { clock, logger });
  });

  test("all that ask at once share one load", async () => {
    const all = await Promise.all(Array.from({ length: 100 }, () => provider.get()));
    expect(new Set(all).size).toBe(1);
    expect([loads, clock.pending]).toEqual([1, 0]);
  });

  test("five minutes before they expire, behind the back of those who ask", async () => {
    await current();
    await pass(55 * MINUTE_MS - 1);
    await current();
    expect(loads).toBe(1);
    await pass(1);
    expect(await current()).toBe("K1");
    await pass(0);
    expect(await current()).toBe("K2");
    expect(loads).toBe(2);
  });

  test("of a short life: at half of it", async () => {
    next = lasting(MINUTE_MS);
    await current();
    await pass(MINUTE_MS / 2 - 1);
    await current();
    expect(loads).toBe(1);
    await pass(1);
    await current();
    expect(loads).toBe(2);
  });

  test("those that do not expire: never", async () => {
    next = lasting(undefined);
    await current();
    await pass(1000 * HOUR_MS);
    expect(await current()).toBe("K1");
    expect(loads).toBe(1);
  });

  test("it fails: the old ones are used on until they expire, and nobody is asked more than twice a minute", async () => {
    await current();
    await pass(56 * MINUTE_MS);
    next = failing;
    for (let i = 0; i < 5; i++) {
      expect(await current()).toBe("K1");
      await pass(10_000);
    }
    expect([loads, warnings.length]).toEqual([3, 2]);
    expect(warnings[0]).toContain("down");
    await pass(4 * MINUTE_MS);
    await expect(provider.get()).rejects.toMatchObject({ retryable: true });
    next = lasting(HOUR_MS);
    expect(await current()).toBe("K5");
  });

  test("expired by our clock, which may be wrong: the store judges, and nobody is asked with every request", async () => {
    next = lasting(-20 * MINUTE_MS);
    for (let i = 0; i < 100; i++) expect(await current()).toBe("K1");
    expect(loads).toBe(1);
    await pass(30_000);
    expect(await current()).toBe("K2");
  });

  test("a source that hangs: an error after half a minute, and the next who asks tries anew", async () => {
    next = () => new Promise(() => undefined);
    const hung = clock.run(provider.get());
    await expect(hung).rejects.toMatchObject({ retryable: true, effect: "none" });
    expect(clock.now()).toBe(30_000);
    next = lasting(HOUR_MS);
    expect(await current()).toBe("K2");
  });

  describe("refused by the store", () => {
    test("once for all who used them; a second time only after they worked, or after a while", async () => {
      const first = await provider.get();
      expect([1, 2, 3].map(() => provider.refused(first))).toEqual([true, true, true]);
      const [second] = await Promise.all([provider.get(), provider.get()]);
      expect(loads).toBe(2);
      expect(provider.refused(first)).toBe(true);
      expect(provider.refused(second)).toBe(false);
      expect(await current()).toBe("K2");
      await pass(30_000);
      expect(provider.refused(second)).toBe(true);
      const third = await provider.get();
      provider.accepted(third);
      expect(provider.refused(third)).toBe(true);
      expect(await current()).toBe("K4");
    });

    test("the old ones are no help then", async () => {
      provider.refused(await provider.get());
      next = failing;
      await expect(provider.get()).rejects.toMatchObject({ retryable: true });
    });
  });
});

describe("on a store", () => {
  const KEY = "data/ab/0000-0000000001-0000000007-ff.log" as ObjectKey;
  const PART = Buffer.alloc(5 * 1024 * 1024, 1);

  /** A store whose credentials come from a container endpoint, and the server that takes them. */
  async function open() {
    const container = await new ContainerEndpoint(givenKeys("FIRST")).start();
    const { server, settings } = await startEndpoint({ credentials: [givenKeys("FIRST")] });
    const environment = { AWS_CONTAINER_CREDENTIALS_FULL_URI: container.url };
    const runtime = { ...systemRuntime, logger, environment };
    const credentials = await searchedCredentials({ profile: undefined, region: "us-east-1" }, runtime);
    const raw = createS3Store({ ...settings, credentials }, runtime);
    const store: ObjectStore = settling(raw, { ...runtime, deadlineMs: 20_000 });
    return {
      container,
      server,
      store,
      /** From now on the server wants others; those that were are expired. */
      rotate(name: string) {
        const expired = { ...container.keys, expiresAtMs: Date.now() - 1 };
        container.keys = givenKeys(name);
        server.setCredentials([expired, container.keys]);
      },
      async [Symbol.asyncDispose]() {
        await store.close();
        await server.close();
        await container[Symbol.asyncDispose]();
      },
    };
  }

  test("F20 a token that expires in the middle of an upload: one renewal for all parts, and nothing fails", async () => {
    await using on = await open();
    const upload = await on.store.createMultipart(KEY);
    const first = await upload.putPart(1, PART);
    on.rotate("SECOND");
    const rest = await Promise.all([2, 3, 4, 5].map((number) => upload.putPart(number, PART)));
    await expect(on.store.put("index/a" as ObjectKey, Buffer.from("x"), IF_ABSENT)).resolves.toMatchObject({
      kind: "written",
    });
    await expect(upload.complete([first, ...rest])).resolves.toEqual({ kind: "completed" });
    expect((await on.store.head(KEY))?.sizeBytes).toBe(5 * PART.length);
    expect(on.container.given).toBe(2);
  });

  test("again and again", async () => {
    await using on = await open();
    for (const name of ["A", "B", "C"]) {
      await on.store.put(`index/${name}` as ObjectKey, Buffer.from("x"), IF_ABSENT);
      on.rotate(name);
    }
    await on.store.put("index/last" as ObjectKey, Buffer.from("x"), IF_ABSENT);
    expect(on.container.given).toBe(4);
  });

  test("the new ones are refused too: an error that names their source, without effect, and one renewal", async () => {
    await using on = await open();
    await on.store.head(KEY);
    on.server.setCredentials([{ ...givenKeys("FIRST"), expiresAtMs: Date.now() - 1 }]);
    const put = on.store.put(KEY, Buffer.from("x"), IF_ABSENT);
    await expect(put).rejects.toMatchObject({ code: "TIERLOG_OBJECT_STORE", retryable: false, effect: "none" });
    await expect(put).rejects.toThrow(/ExpiredToken.*get new credentials; these came from the container endpoint/);
    expect(on.container.given).toBe(2);
  });

  test("the endpoint is down when they are needed: tried again until it is back, and the put was never in doubt", async () => {
    await using on = await open();
    on.container.fails = 503;
    const hiccup = setInterval(() => {
      if (on.container.requests.length > 2) on.container.fails = undefined;
    }, 5);
    await expect(on.store.put(KEY, Buffer.from("x"), IF_ABSENT)).resolves.toMatchObject({ kind: "written" });
    clearInterval(hiccup);
    expect(on.server.requests.count("PutObject")).toBe(1);
    on.container.fails = 404;
    on.rotate("SECOND");
    await expect(on.store.put("other" as ObjectKey, Buffer.from("x"), IF_ABSENT)).rejects.toMatchObject({
      retryable: false,
      effect: "none",
    });
  });
});
